"""Notices outages of the database, and logs each once at its beginning and once at its end."""

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
# A server may answer one request and fail at the next, with a full disk for example. The outage
# ends only if no request has failed for this long. Otherwise each request would begin and end an
# outage.
CALM_SECONDS = 1.0
HEARTBEAT_SECONDS = 5.0


class Absence:
    """Logs the beginning and the end of each outage. `in_outage` is set between the two."""

    def __init__(self) -> None:
        self.in_outage = False

    def begins(self, error: BaseException, **known: object) -> None:
        """Call this for each error. Only the first error of an outage is logged, with the fields
        `known`."""
        if not self.in_outage:
            self.in_outage = True
            _log.warning("the database is away", error=str(error) or type(error).__name__, **known)

    def ends(self) -> None:
        if self.in_outage:
            self.in_outage = False
            _log.info("the database is back")


class Heartbeat:
    """Asks whether the database answers, over a connection of its own. Callers that ask at the same
    time share one question to the database."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._asking: asyncio.Future[None] | None = None

    async def ask(self) -> None:
        """Raises one of AWAY if the database does not answer: a TimeoutError after
        HEARTBEAT_SECONDS."""
        if self._asking is None:
            # In a new context, so that it does not log the id of the request that happened to ask
            # first.
            self._asking = asyncio.create_task(self._ask(), context=Context())
            self._asking.add_done_callback(self._answered)
        await asyncio.shield(self._asking)

    async def _ask(self) -> None:
        async with asyncio.timeout(HEARTBEAT_SECONDS):
            await _SQL.ping.fetchval(self._pool)

    def _answered(self, asking: "asyncio.Future[None]") -> None:
        self._asking = None
        if not asking.cancelled():
            # If every caller was cancelled, nobody takes the exception, and asyncio would log that.
            asking.exception()


class Watch:
    """Watches the database for a process that uses it only for requests.

    It looks at the database when a request fails or a connection ends. During an outage it goes on
    looking. The outage ends when the database takes writes and no request has failed for
    CALM_SECONDS.
    """

    def __init__(self) -> None:
        self._absence = Absence()
        self._missed = False
        self._pool: Pool | None = None
        self._looking: asyncio.Task[None] | None = None

    def begin(self, pool: Pool) -> None:
        self._pool = pool

    async def end(self) -> None:
        """Stop watching. Call this before the pool is closed, because that ends its connections."""
        self._pool = None
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait([self._looking])

    def missed(self, error: BaseException, **known: object) -> None:
        """Call this after a request has failed with `error`, one of AWAY. `known` are fields for
        the log."""
        self._missed = True
        self._absence.begins(error, **known)
        self.look()

    def look(self) -> None:
        """Find out whether the database is away. Call this after a connection has ended, which may
        have other reasons."""
        if self._pool is not None and self._looking is None:
            # In a new context. Otherwise all later log lines would have the id of this request.
            self._looking = asyncio.create_task(self._look(self._pool), context=Context())

    async def _look(self, pool: Pool) -> None:
        delays: Iterator[float] = chain(BACKOFF_SECONDS, repeat(BACKOFF_SECONDS[-1]))
        try:
            while not (there := await self._takes_writes(pool)) or self._missed:
                if not self._absence.in_outage:
                    # The database is read-only, and no request has failed because of that.
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
