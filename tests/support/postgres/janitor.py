"""Ends a test run's server and removes its directory, however the run ended."""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path


class Janitor:
    """Makes the run's directory in `parent`, and starts a process that waits for the end of a pipe.
    Only this process holds the other end.

    The waiting process has a session of its own, so it survives Ctrl-C and kill -9 of the tests.
    """

    def __init__(self, parent: Path = Path("/tmp")) -> None:
        self.run_dir = Path(tempfile.mkdtemp(prefix="jossiedb-test-", dir=parent))
        self.run_dir.chmod(0o711)
        self._process = subprocess.Popen(
            [sys.executable, "-I", __file__, str(self.run_dir)], stdin=subprocess.PIPE, start_new_session=True, cwd="/"
        )

    def finish(self) -> None:
        self._process.communicate()


def clean_up(run_dir: Path) -> None:
    """Runs in the janitor. SIGQUIT is PostgreSQL's immediate shutdown, because no data is kept."""
    pid_file = run_dir / "postgres" / "postmaster.pid"
    with suppress(FileNotFoundError, ProcessLookupError, ValueError):
        os.kill(int(pid_file.read_text().split()[0]), signal.SIGQUIT)
    server = run_dir / "postgres.server"
    if server.exists():
        with server.open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # granted when the last of the server's processes has ended
    shutil.rmtree(run_dir, ignore_errors=True)


if __name__ == "__main__":
    sys.stdin.read()
    clean_up(Path(sys.argv[1]))
