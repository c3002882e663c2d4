"""A disk of a few megabytes, which a test fills and empties again."""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import pytest


class SmallDisk:
    """A tmpfs, mounted at `path`. If the user may not mount, the test is skipped."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ballast = path / "ballast"

    @classmethod
    @contextmanager
    def mounted(cls, megabytes: int) -> Iterator[Self]:
        path = Path(tempfile.mkdtemp(prefix="jossiedb-test-disk-", dir="/tmp"))
        try:
            done = _run("mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0711", "tmpfs", str(path))
            if done.returncode:
                pytest.skip(f"only root can mount a small disk: {done.stderr.strip()}")
            try:
                yield cls(path)
            finally:
                # Unmounted lazily, because a server that is ending may still have files open.
                _run("umount", "-l", str(path)).check_returncode()
        finally:
            path.rmdir()

    def fill(self) -> None:
        """Fill the disk to the last page."""
        with self._ballast.open("ab", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                pass

    def empty(self) -> None:
        self._ballast.unlink()

    def enlarge(self, megabytes: int) -> None:
        _run("mount", "-o", f"remount,size={megabytes}m", str(self.path)).check_returncode()


def _run(*command: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
