"""The steps with which a process starts and ends: settings, database, epoch, signals."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import asyncpg

from service.platform.database_url import parse
from service.platform.db import AWAY, address, connect
from service.platform.embedded.keep_up import kept_up
from service.platform.embedded.server import EmbeddedServer
from service.platform.epoch import Epoch
from service.platform.errors import StartupError
from service.platform.logs import configure, get_logger
from service.platform.migrate import check_migrated, our_tables
from service.platform.preconditions import check_rights, check_writable
from service.platform.settings import Settings, load_settings, unknown_names

_log = get_logger(__name__)
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def start() -> Settings:
    """Loads the settings and sets up the logs. Logs a warning with names in the environment that
    look like settings and are none. Raises StartupError."""
    settings = load_settings()
    configure(settings.jossiedb_log_level)
    unknown = unknown_names()
    if unknown:
        _log.warning("these are no settings", names=unknown)
    return settings


@asynccontextmanager
async def database(settings: Settings) -> AsyncIterator[str]:
    """Yields DATABASE_URL. If it is not set, starts the embedded server and yields its URL.

    The embedded server runs at least until the context ends. If it is killed meanwhile, it is
    started again. Raises StartupError.
    """
    if settings.database_url is not None:
        url = settings.database_url.get_secret_value()
        if dropped := parse(url).dropped:
            _log.warning("parameters of DATABASE_URL have no effect here", names=list(dropped))
        yield url
        return
    server = EmbeddedServer(settings.jossiedb_data_dir)
    async with server as url, kept_up(server):
        yield url


async def require_migrated(url: str, *, read_only: bool = False) -> None:
    """Raises StartupError unless this process can work with the database.

    The database must be reachable and have this version's schema, take writes, and grant the rights
    that the process needs. With `read_only`, only the first two are required, so a standby is
    enough.
    """
    session = await connect(url, application_name="jossiedb start")
    try:
        await check_migrated(session)
        if not read_only:
            await check_writable(session)
            await check_rights(session, our_tables())
    except StartupError as error:
        raise StartupError(f"PostgreSQL at {address(url)}: {error}") from None
    except (*AWAY, asyncpg.PostgresError) as error:
        raise StartupError(f"PostgreSQL at {address(url)} does not say whether it is migrated: {error}") from None
    finally:
        await session.close()


async def settle(url: str, epoch: Epoch) -> None:
    """Returns as soon as it is settled in which epoch the database is. Raises StartupError."""
    connection = await connect(url, application_name="jossiedb start")
    try:
        await epoch.settle(connection)
    except (*AWAY, asyncpg.PostgresError) as error:
        raise StartupError(f"PostgreSQL at {address(url)} does not say which past it has: {error}") from None
    finally:
        await connection.close()


@contextmanager
def cancelled_by_signals() -> Iterator[None]:
    """Within the context, SIGTERM and SIGINT cancel the present task, which then cleans up. A
    second signal cancels the cleaning up, too."""
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, task.cancel)
    try:
        yield
    except asyncio.CancelledError:
        _log.info("stopped")
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
