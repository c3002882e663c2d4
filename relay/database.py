"""The relay's connections to PostgreSQL."""

from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import asyncpg

from service.platform.db import Pool, open_pool
from service.platform.logs import get_logger
from service.platform.queries import Connection

if TYPE_CHECKING:
    _Pool = asyncpg.Pool[asyncpg.Record]
else:
    _Pool = asyncpg.Pool

_log = get_logger(__name__)

# Claim, record, fan-out, presence, replays and housekeeping each use one at a time; the LISTEN connection comes on top.
POOL_SIZE = 6
# Queues are empty at one moment and hold a million rows at the next, and statistics tell of neither. So statements are planned
# once, without their arguments, and along indexes: a plan that reads a whole table, or a whole lane to sort it, is right for
# an empty one only.
PLANNING = {
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_mergejoin": "off",
    "jit": "off",
}
# A relay that is stopped, or cut off, in the midst of a transaction must not keep its locks from the others.
LETTING_GO = {
    "idle_in_transaction_session_timeout": "10s",
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "10000",
}
# How long a server may take to acknowledge that a statement is cancelled. It does so at once, whatever the statement waits for.
ACKNOWLEDGE_SECONDS = 3.0


class Queues(_Pool):
    """A pool that hangs up on a server which does not even acknowledge that a statement is cancelled: nothing passes over that
    connection any more, and what swallows it swallows what goes over the others. Presence asks each second, and cancels what
    is not answered in time, so this is noticed long before the time is up that other statements have. Whoever waits for an
    answer then gets an error, and asks again on a new connection."""

    def __init__(self, url: str, **options: Any) -> None:
        self._open: WeakSet[Connection] = WeakSet()
        super().__init__(
            url,
            init=self._opened,
            loop=None,
            connection_class=asyncpg.Connection,
            record_class=asyncpg.Record,
            **options,
        )

    async def release(
        self,
        connection: "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]",
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - asyncpg's own
    ) -> None:
        try:
            await super().release(connection, timeout=ACKNOWLEDGE_SECONDS if timeout is None else timeout)
        except TimeoutError:
            self._hang_up()
            raise

    async def _opened(self, connection: Connection) -> None:
        self._open.add(connection)

    def _hang_up(self) -> None:
        lost = [connection for connection in self._open if not connection.is_closed()]
        _log.warning("the database does not answer; hanging up", connections=len(lost))
        for connection in lost:
            connection.terminate()


async def open_queues(url: str) -> Pool:
    """Raises StartupError."""
    return await open_pool(
        url,
        application_name="jossiedb relay",
        size=POOL_SIZE,
        server_settings=PLANNING | LETTING_GO,
        keep_state=True,
        make=Queues,
    )
