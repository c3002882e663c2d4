"""Embedded servers of a test, and questions about them."""

import fcntl
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

import asyncpg

from service.platform.embedded.server import EmbeddedServer
from tests.support.postgres.janitor import clean_up
from tests.support.postgres.shared_server import bin_dir, scratch


@contextmanager
def data_directory() -> Iterator[Path]:
    """A directory that other users may enter, unlike pytest's tmp_path."""
    directory = Path(tempfile.mkdtemp(prefix="jossiedb-embedded-", dir=scratch()))
    directory.chmod(0o711)
    yield directory
    clean_up(directory)


def embedded(data_dir: Path, **settings: str) -> EmbeddedServer:
    return EmbeddedServer(data_dir, bin_dir=bin_dir(), sync=False, settings=settings)


def postmaster(data_dir: Path) -> int:
    return int((data_dir / "postgres" / "postmaster.pid").read_text().split()[0])


def server_runs(data_dir: Path) -> bool:
    with (data_dir / "postgres.server").open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = monotonic() + 60
    while not condition():
        assert monotonic() < deadline, "it did not come to pass"
        sleep(0.01)


async def query(url: str, sql: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()
