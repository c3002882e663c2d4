"""The database's absence: said once, whoever meets it, and its end said once."""

import asyncio
from collections.abc import Iterator
from contextvars import Context
from itertools import chain, repeat

import asyncpg

from service.platform.db import AWAY, Pool
from service.platform.logs import get_logger
from service.platform.queries import load

_log = get_logger(__name__)
_SQL = load("outage")

BACKOFF_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.0)
# A server that answers and fails, its disk full, say, is not to be away and back with each request.
CALM_SECONDS = 1.0
HEARTBEAT_SECONDS = 5.0


class Absence:
    """What one process has said of it."""

    def __init__(self) -> None:
        self.said = False

    def begins(self, error: BaseException, **known: object) -> None:
        """What is `known` is said if this is the first that is noticed of it."""
        if not self.said:
            self.said = True
            _log.warning("the database is away", error=str(error) or type(error).__name__, **known)

    def ends(self) -> None:
        if self.said:
            self.said = False
            _log.info("the database is back")


class Heartbeat:
    """Whether the database answers, over a connection of its own. However many ask at once, it is asked once for all of them."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._asking: asyncio.Future[None] | None = None

    async def ask(self) -> None:
        """Raises one of AWAY, a TimeoutError after HEARTBEAT_SECONDS."""
        if self._asking is None:
            # Not in the context of the request that happens to be the first.
            self._asking = asyncio.create_task(self._ask(), context=Context())
            self._asking.add_done_callback(self._answered)
        await asyncio.shield(self._asking)

    async def _ask(self) -> None:
        async with asyncio.timeout(HEARTBEAT_SECONDS):
            await _SQL.ping.fetchval(self._pool)

    def _answered(self, asking: "asyncio.Future[None]") -> None:
        self._asking = None
        if not asking.cancelled():
            # Whoever asked may have gone: then nobody takes the exception.
            asking.exception()


class Watch:
    """For a process that asks the database only when somebody asks it. It looks when a request fails or a connection ends, and,
    while the server is away, until it is back: it takes writes, and no request has failed for CALM_SECONDS."""

    def __init__(self) -> None:
        self._absence = Absence()
        self._missed = False
        self._pool: Pool | None = None
        self._looking: asyncio.Task[None] | None = None

    def begin(self, pool: Pool) -> None:
        self._pool = pool

    async def end(self) -> None:
        """Before the pool is closed, which ends its connections."""
        self._pool = None
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait([self._looking])

    def missed(self, error: BaseException, **known: object) -> None:
        """The database could not do what it was asked."""
        self._missed = True
        self._absence.begins(error, **known)
        self.look()

    def look(self) -> None:
        """It may be away: a connection has ended, as some do by themselves."""
        if self._pool is not None and self._looking is None:
            # Not in the context of the request that happens to be the first: its id is not to be in what is said later.
            self._looking = asyncio.create_task(self._look(self._pool), context=Context())

    async def _look(self, pool: Pool) -> None:
        delays: Iterator[float] = chain(BACKOFF_SECONDS, repeat(BACKOFF_SECONDS[-1]))
        try:
            while not (there := await self._takes_writes(pool)) or self._missed:
                if not self._absence.said:
                    # It is read-only, and nobody has wanted to write.
                    return
                self._missed = False
                await asyncio.sleep(CALM_SECONDS if there else next(delays))
            self._absence.ends()
        finally:
            self._looking = None

    async def _takes_writes(self, pool: Pool) -> bool:
        try:
            writable: bool = await _SQL.takes_writes.fetchval(pool)
        except (*AWAY, asyncpg.PostgresError) as error:
            self._absence.begins(error)
            return False
        return writable
