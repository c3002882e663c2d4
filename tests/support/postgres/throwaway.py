"""A PostgreSQL of a test, which may be killed, stopped, reconfigured and started again."""

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import asyncpg
import pytest

from service.platform.embedded.account import choose
from service.platform.embedded.server import EmbeddedServer
from service.platform.embedded.server import bin_dir as embedded_bin_dir
from service.platform.migrate import migrate
from tests.support.database import with_database
from tests.support.faketime import FakeClock
from tests.support.postgres.janitor import Janitor
from tests.support.postgres.shared_server import bin_dir, scratch

# Syncing makes no difference to a process that is killed, because the kernel keeps what it wrote.
_SETTINGS = {
    "fsync": "off",
    "max_connections": "40",
    "superuser_reserved_connections": "3",
    # Files in its directory. A server that is killed would leave POSIX segments in /dev/shm.
    "dynamic_shared_memory_type": "mmap",
}
# The smallest queue of notifications. Before PostgreSQL 17 the queue always takes 8 GB, so this
# needs the embedded server.
_SMALL_QUEUE = {"max_notify_queue_pages": "64"}


def _with_clock(clock: FakeClock, directory: Path) -> Path:
    """The directory of PostgreSQL's programs, whose server runs with that clock."""
    programs = directory / "programs" / "bin"
    programs.mkdir(parents=True)
    for program in bin_dir().iterdir():
        (programs / program.name).symlink_to(program)
    (programs / "postgres").unlink()
    variables = " ".join(f"'{name}={value}'" for name, value in clock.environment.items())
    (programs / "postgres").write_text(f'#!/bin/sh\nexec env {variables} "{bin_dir() / "postgres"}" "$@"\n')
    for path in (programs.parent, programs, programs / "postgres"):
        path.chmod(0o755)
    return programs


class Throwaway:
    """`settings` are added to the usual ones. With `wrong_clock`, its clock can leap."""

    def __init__(
        self, settings: Mapping[str, str] | None = None, *, small_queue: bool = False, wrong_clock: bool = False
    ) -> None:
        self._janitor = Janitor(scratch())
        self._directory = self._janitor.run_dir
        self.clock = FakeClock(self._directory) if wrong_clock else None
        self._programs = embedded_bin_dir() if small_queue else bin_dir()
        if self.clock is not None:
            self._programs = _with_clock(self.clock, self._directory)
        self._settings = {**_SETTINGS, **(settings or {}), **(_SMALL_QUEUE if small_queue else {})}
        self.configure()
        self.url = ""

    def configure(self, **settings: str) -> None:
        """Parameters of the server from its next start on."""
        self._server = EmbeddedServer(
            self._directory, bin_dir=self._programs, settings=self._settings | settings, sync=False
        )

    @property
    def cluster(self) -> Path:
        return self._directory / "postgres"

    @property
    def socket(self) -> str:
        """The path of its Unix socket."""
        lines = (self.cluster / "postmaster.pid").read_text().splitlines()
        return f"{lines[4].strip()}/.s.PGSQL.{lines[3].strip()}"

    def start(self) -> str:
        """Blocks until it accepts connections, recovery included."""
        self.url = self._server.start()
        return self.url

    def follow(self, primary: "Throwaway", name: str) -> None:
        """Copy another server that runs, and start as its standby with that name. Blocks until it
        accepts connections, which only read."""
        account = choose(primary.cluster)
        self.cluster.mkdir(mode=0o700)
        account.give(self.cluster)
        server = f"host={Path(primary.socket).parent} port={primary.socket.rpartition('.')[2]} user=postgres application_name={name}"
        done = subprocess.run(
            [str(bin_dir() / "pg_basebackup"), "-d", server, "-D", str(self.cluster), "-R", "-c", "fast", "--no-sync"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            cwd="/",
            check=False,
            **account.subprocess_arguments(),
        )
        assert done.returncode == 0, done.stderr
        # The copied lock file belongs to the primary.
        (self.cluster / f"{Path(primary.socket).name}.lock").unlink()
        self.start()

    async def promote(self) -> None:
        """Make a standby the primary. It accepts writes when this returns."""
        connection = await asyncpg.connect(self.url)
        try:
            assert await connection.fetchval("select pg_promote(wait => true)")
        finally:
            await connection.close()

    def pause(self) -> None:
        """Stop it until it is started again. Meanwhile its files may be replaced."""
        self._server.stop()

    def stop(self) -> None:
        try:
            self._server.stop()
        finally:
            self._janitor.finish()

    def migrate(self) -> None:
        async def run() -> None:
            connection = await asyncpg.connect(self.url)
            try:
                await migrate(connection)
            finally:
                await connection.close()

        asyncio.run(run())

    def _postmaster(self) -> int:
        return int((self.cluster / "postmaster.pid").read_text().split()[0])

    def kill(self) -> None:
        """kill -9 of all its processes."""
        postmaster = self._postmaster()
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
        for process in (postmaster, *map(int, children)):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    def shut_down_immediately(self) -> None:
        os.kill(self._postmaster(), signal.SIGQUIT)

    def move_wal(self, disk: Path) -> None:
        """Restart with the write-ahead log on that disk."""
        self._server.stop()
        shutil.copytree(self.cluster / "pg_wal", disk / "pg_wal")
        shutil.rmtree(self.cluster / "pg_wal")
        self._give(disk / "pg_wal")
        (self.cluster / "pg_wal").symlink_to(disk / "pg_wal")
        self.start()

    async def move_data(self, disk: Path) -> None:
        """The tables move to that disk. No session may be connected."""
        (disk / "tables").mkdir()
        self._give(disk / "tables")
        admin = await asyncpg.connect(with_database(self.url, "postgres"))
        try:
            await admin.execute(f"create tablespace small location '{disk}/tables'")
            await admin.execute("alter database jossiedb set tablespace small")
        finally:
            await admin.close()

    def _give(self, directory: Path) -> None:
        account = choose(self.cluster)
        for path in (directory, *directory.rglob("*")):
            account.give(path)

    def log(self) -> str:
        return (self._directory / "postgres.log").read_text(encoding="utf-8", errors="replace")

    async def start_again(self) -> None:
        def again() -> None:
            self._server.stop()
            self.start()

        await asyncio.to_thread(again)


@contextmanager
def throwaway_server(
    monkeypatch: pytest.MonkeyPatch, *, small_queue: bool = False, wrong_clock: bool = False
) -> Iterator[Throwaway]:
    """A migrated server that is stopped at the end. Processes that the test starts find it by
    DATABASE_URL."""
    server = Throwaway(small_queue=small_queue, wrong_clock=wrong_clock)
    try:
        monkeypatch.setenv("DATABASE_URL", server.start())
        server.migrate()
        yield server
    finally:
        server.stop()
