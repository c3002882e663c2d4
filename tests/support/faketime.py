"""Processes whose wall clock leaps, by libfaketime. Their monotonic clock stays right."""

from pathlib import Path

import pytest

NOW = "+0"


class FakeClock:
    """A clock for the processes that are started with its `environment`."""

    def __init__(self, directory: Path) -> None:
        # Preload the library itself. The program of that name would be the parent of the process,
        # and signals would go to that.
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
        """From now on the clock is off by this much, such as `+10d` or `-1h`."""
        # Replace the file in one step, because a process may read it at any time.
        draft = self._file.with_suffix(".draft")
        draft.write_text(f"{offset}\n")
        draft.chmod(0o644)
        draft.replace(self._file)
