"""A PostgreSQL of a test's own, which may be killed, stopped, reconfigured and started again."""

import asyncio
import os
import signal
from contextlib import suppress
from pathlib import Path

import asyncpg

from service.platform.embedded import EmbeddedServer
from service.platform.migrate import migrate
from tests.janitor import Janitor
from tests.server import bin_dir

# Whether it syncs makes no difference to a process that is killed: what it wrote is the kernel's.
_SETTINGS = {"fsync": "off", "max_connections": "40", "superuser_reserved_connections": "3"}


class Throwaway:
    def __init__(self) -> None:
        self._janitor = Janitor()
        self._directory = self._janitor.run_dir
        self._server = EmbeddedServer(self._directory, bin_dir=bin_dir(), settings=_SETTINGS, sync=False)
        self.url = ""

    @property
    def socket(self) -> str:
        """The path of its socket."""
        lines = (self._directory / "postgres" / "postmaster.pid").read_text().splitlines()
        return f"{lines[4].strip()}/.s.PGSQL.{lines[3].strip()}"

    def start(self) -> str:
        """Blocks until it takes connections, recovery included."""
        self.url = self._server.start()
        return self.url

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
        return int((self._directory / "postgres" / "postmaster.pid").read_text().split()[0])

    def kill(self) -> None:
        """kill -9 of all its processes."""
        postmaster = self._postmaster()
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
        for process in (postmaster, *map(int, children)):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    def shut_down_immediately(self) -> None:
        os.kill(self._postmaster(), signal.SIGQUIT)

    async def start_again(self) -> None:
        def again() -> None:
            self._server.stop()
            self.start()

        await asyncio.to_thread(again)
