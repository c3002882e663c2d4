"""The one PostgreSQL that all processes of a test run share, and the template of its databases."""

import asyncio
import fcntl
import os
import shutil
from pathlib import Path

import asyncpg

from service.platform.embedded.server import EmbeddedServer
from service.platform.embedded.server import bin_dir as embedded_bin_dir
from service.platform.migrate import migrate
from tests.support.database import with_database

RUN_DIR = "JOSSIEDB_TEST_RUN_DIR"
PG_BIN = "JOSSIEDB_TEST_PG_BIN"
TEMPLATE = "jossiedb_template"
_MEMORY = Path("/dev/shm")
ROOM_GIB = "JOSSIEDB_TEST_ROOM_GIB"
_GIB = 1024**3
_SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "max_connections": "300",
    "max_prepared_transactions": "10",
    "autovacuum_naptime": "5s",
    "max_wal_size": "512MB",
    "checkpoint_timeout": "1h",
    "max_locks_per_transaction": "256",
    "track_functions": "none",
}


def scratch() -> Path:
    """The directory for data that no test keeps: in memory if there is room for it.

    A database is some 600 small files. Most tests have one of their own, and on a disk that costs
    more than everything else. JOSSIEDB_TEST_ROOM_GIB says how much room a run needs, if more than 2
    GiB.
    """
    room = int(os.environ.get(ROOM_GIB, "2")) * _GIB
    roomy = os.access(_MEMORY, os.W_OK | os.X_OK) and shutil.disk_usage(_MEMORY).free >= room
    return _MEMORY if roomy else Path("/tmp")


def bin_dir() -> Path:
    """The PostgreSQL programs under test: JOSSIEDB_TEST_PG_BIN, or the embedded ones."""
    return Path(os.environ[PG_BIN]) if os.environ.get(PG_BIN) else embedded_bin_dir()


class SharedServer:
    """This process's hold on the run's server."""

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir
        self._server = EmbeddedServer(run_dir, bin_dir=bin_dir(), settings=_SETTINGS, sync=False)
        self.url = ""

    def start(self) -> None:
        self.url = with_database(self._server.start(), "postgres")
        with (self._run_dir / "template.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            asyncio.run(self._make_template())

    def stop(self) -> None:
        self._server.stop()

    async def _make_template(self) -> None:
        admin = await asyncpg.connect(self.url)
        try:
            if await admin.fetchval("select exists (select from pg_database where datname = $1)", TEMPLATE):
                return
            await admin.execute("create database template_draft")
            connection = await asyncpg.connect(with_database(self.url, "template_draft"))
            try:
                await migrate(connection)
                await connection.execute("vacuum analyze")
            finally:
                await connection.close()
            await admin.execute(f"alter database template_draft rename to {TEMPLATE}")
        finally:
            await admin.close()
