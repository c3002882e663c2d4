"""Processes whose wall clock is made to leap while they run, by libfaketime. Their monotonic clock stays as it is."""

from pathlib import Path

import pytest

NOW = "+0"


class FakeClock:
    """A clock for the processes that are started with its `environment`."""

    def __init__(self, directory: Path) -> None:
        # The library itself: the program of that name would be the parent of what it starts, and signals meet it instead.
        libraries = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
        if not libraries:
            pytest.skip("faketime is not installed")
        self._file = directory / "clock"
        self._file.touch(mode=0o644)
        self.leap(NOW)
        self.environment = {
            "LD_PRELOAD": str(libraries[0]),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def leap(self, offset: str) -> None:
        """From now on the clock is off by so much, such as `+10d` or `-1h`."""
        # In one step: a process may read it at any time.
        draft = self._file.with_suffix(".draft")
        draft.write_text(f"{offset}\n")
        draft.chmod(0o644)
        draft.replace(self._file)
