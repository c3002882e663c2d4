"""The relay's connections to PostgreSQL."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias
from weakref import WeakSet

import asyncpg

from service.platform.db import open_pool
from service.platform.epoch import Epoch
from service.platform.logs import get_logger
from service.platform.queries import load
from service.platform.session import Session

if TYPE_CHECKING:
    _Pool = asyncpg.Pool[asyncpg.Record]
else:
    _Pool = asyncpg.Pool

Lent: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"

_log = get_logger(__name__)
_SQL = load("database")

# Claiming, recording, presence, replays, housekeeping and the messages to peers use one connection
# each, at most. Tests of webhooks use those that are free. The LISTEN connection, on which the
# leader fans out, is not counted.
POOL_SIZE = 6
# A queue is empty at one moment and holds a million rows at the next, and statistics show neither.
# So statements are planned once, without their arguments, and along indexes. A plan that reads a
# whole table, or sorts a whole lane, is right only for an empty one.
PLANNING = {
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_mergejoin": "off",
    "jit": "off",
}
# A relay may be stopped or cut off within a transaction. These settings end that transaction soon,
# so that its locks do not hold up the other relays.
LIVENESS = {
    "idle_in_transaction_session_timeout": "10s",
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "10000",
}
# How long a server may take to acknowledge that a statement is cancelled. A healthy one does so at
# once, whatever the statement waits for.
ACKNOWLEDGE_SECONDS = 3.0
# After this long without an answer, the relay asks the server whether it has given one.
ANSWER_SECONDS = 5.0


class Backend(NamedTuple):
    """A connection as the server names it. Through a pooler, it would be the pooler's backend."""

    pid: int
    start: datetime


class QueueConnection(Session):
    backend: Backend


class Queues(_Pool):
    """A pool that notices half-open connections, over which nothing passes any more, long before a
    statement's timeout. It then closes all of its connections, because the cause usually affects
    them all. Callers that wait for an answer get an error and ask again on a new connection.

    There are two signs of a half-open connection. Either the server does not acknowledge that a
    statement is cancelled. Or a caller waits for an answer, and the server says that the
    connection's backend is idle: then the statement or its answer was lost."""

    def __init__(self, *, epoch: Epoch | None = None, **options: Any) -> None:
        self._open: WeakSet[QueueConnection] = WeakSet()
        # The connections in use: since when, in monotonic seconds, and their backends.
        self._lent: dict[Lent | QueueConnection, tuple[float, Backend]] = {}
        # Backends of closed connections. They may not have noticed that the relay hung up.
        self._left: list[Backend] = []
        self._epoch = epoch
        super().__init__(
            init=self._opened,
            setup=self._lend,
            loop=None,
            record_class=asyncpg.Record,
            **options,
        )

    async def release(
        self,
        connection: Lent,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - asyncpg's own
    ) -> None:
        self._lent.pop(connection, None)
        try:
            await super().release(connection, timeout=ACKNOWLEDGE_SECONDS if timeout is None else timeout)
        except TimeoutError:
            self._hang_up()
            raise

    def adopt(self, connection: QueueConnection) -> None:
        """Adds a connection that is not the pool's own. It is closed when the pool's are."""
        self._open.add(connection)

    @contextmanager
    def asking(self, connection: QueueConnection) -> Iterator[None]:
        """Watches an adopted connection while it is used, like the connections of the pool."""
        self._lent[connection] = time.monotonic(), connection.backend
        try:
            yield
        finally:
            self._lent.pop(connection, None)

    async def look_after(self) -> None:
        """Ends backends that the relay has left, and looks for half-open connections. Call it about
        once a second, just after the server has answered."""
        if left := list(self._left):
            # They may hold the locks of a transaction that was cut off.
            await _SQL.end_backends.execute(
                self, pids=[backend.pid for backend in left], starts=[backend.start for backend in left]
            )
            # Other backends may have been added during the statement.
            del self._left[: len(left)]
        now = time.monotonic()
        waiting = [backend for since, backend in self._lent.values() if now - since > ANSWER_SECONDS]
        if waiting and await _SQL.any_silent.fetchval(
            self,
            pids=[backend.pid for backend in waiting],
            starts=[backend.start for backend in waiting],
            seconds=ANSWER_SECONDS,
        ):
            self._hang_up()

    async def _opened(self, connection: Any) -> None:
        # `look_after` does not watch this connection yet, so it gets a timeout here.
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await introduce(connection)
                if self._epoch is not None:
                    await self._epoch.greet(connection)
        except BaseException:
            # The pool would close it politely, and wait for an answer.
            connection.terminate()
            raise
        self._open.add(connection)

    async def _lend(self, connection: Any) -> None:
        self._lent[connection] = time.monotonic(), connection.backend

    def _hang_up(self) -> None:
        lost = [connection for connection in self._open if not connection.is_closed()]
        _log.warning("the database does not answer; its connections are cut", connections=len(lost))
        for connection in lost:
            self._left.append(connection.backend)
            connection.terminate()


async def introduce(connection: QueueConnection) -> None:
    """Asks which backend the connection leads to, and keeps the answer."""
    own = await _SQL.own_backend.fetchrow(connection)
    assert own is not None, "a backend sees itself"
    connection.backend = Backend(own["pid"], own["backend_start"])


async def open_queues(url: str, epoch: Epoch | None = None) -> Queues:
    """`epoch` checks each new connection. Raises StartupError."""
    pool = await open_pool(
        url,
        application_name="jossiedb relay",
        size=POOL_SIZE,
        settings=PLANNING | LIVENESS,
        connection_class=QueueConnection,
        make=partial(Queues, epoch=epoch),
        # Statements stay prepared as long as the connection lives.
        max_queries=2**31,
        max_cached_statement_lifetime=0,
        max_inactive_connection_lifetime=0,
    )
    assert isinstance(pool, Queues), "it is what makes it"
    return pool
