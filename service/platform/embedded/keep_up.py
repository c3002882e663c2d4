"""Starts the embedded PostgreSQL again if it was killed or has crashed while processes use it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic

from service.platform.embedded.server import EmbeddedServer
from service.platform.errors import StartupError
from service.platform.logs import get_logger

LOOK_SECONDS = 0.5
# If a server ends again within this time, it is not started once more, because it would go on
# ending.
SOON_SECONDS = 60.0

_log = get_logger(__name__)


@asynccontextmanager
async def kept_up(server: EmbeddedServer) -> AsyncIterator[None]:
    """Within the context, the server is started again if it has ended. This process must be one of
    its holders. If there are several, one of them starts it and logs that."""
    keeping = asyncio.create_task(_keep_up(server))
    try:
        yield
    finally:
        keeping.cancel()
        await asyncio.wait([keeping])


async def _keep_up(server: EmbeddedServer) -> None:
    started: float | None = None
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        if server.alive():
            continue
        if started is not None and monotonic() - started < SOON_SECONDS:
            _log.error("the embedded PostgreSQL has ended again, and is not started once more", log=str(server.log))
            return
        try:
            by_us = await server.start_again()
        except StartupError as error:
            _log.error("the embedded PostgreSQL has ended, and does not start again", error=str(error))
            return
        started = monotonic()
        if by_us:
            _log.warning("the embedded PostgreSQL had ended; it was started again", log=str(server.log))
