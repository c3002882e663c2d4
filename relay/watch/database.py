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

# Claim, record, presence, replays, housekeeping, and what is told to peers each use one at a time, tests of webhooks what is left;
# the LISTEN connection, on which the leader fans out, comes on top.
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
# How long something may wait for an answer before the server is asked whether it has given one.
ANSWER_SECONDS = 5.0


class Backend(NamedTuple):
    """What the server calls a connection; a pooler in between would say something else."""

    pid: int
    start: datetime


class QueueConnection(Session):
    backend: Backend


class Queues(_Pool):
    """A pool that notices when nothing passes over a connection any more, long before the time is up that a statement has, and
    then hangs up on all: what swallows the bytes of one swallows those of the others. Whoever waits for an answer gets an error,
    and asks again on a new connection. It is noticed in two ways. A server that does not acknowledge that a statement is
    cancelled is not heard. And one that has been idle while an answer is waited for has given it, or was never asked."""

    def __init__(self, *, epoch: Epoch | None = None, **options: Any) -> None:
        self._open: WeakSet[QueueConnection] = WeakSet()
        # What is in somebody's hands, since when in monotonic seconds, and its backend.
        self._lent: dict[Lent | QueueConnection, tuple[float, Backend]] = {}
        # Backends that do not know that they were left.
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
        """One that is not the pool's is hung up on together with those that are."""
        self._open.add(connection)

    @contextmanager
    def asking(self, connection: QueueConnection) -> Iterator[None]:
        """While an adopted one is asked something, it is looked after as those of the pool are."""
        self._lent[connection] = time.monotonic(), connection.backend
        try:
            yield
        finally:
            self._lent.pop(connection, None)

    async def look_after(self) -> None:
        """To be called each second or so, when the server has just answered."""
        if left := list(self._left):
            # They would keep the locks of a transaction that was cut off.
            await _SQL.end_backends.execute(
                self, pids=[backend.pid for backend in left], starts=[backend.start for backend in left]
            )
            # Others may have been left meanwhile.
            del self._left[: len(left)]
        now = time.monotonic()
        waiting = [backend for since, backend in self._lent.values() if now - since > ANSWER_SECONDS]
        if waiting and await _SQL.deaf.fetchval(
            self,
            pids=[backend.pid for backend in waiting],
            starts=[backend.start for backend in waiting],
            seconds=ANSWER_SECONDS,
        ):
            self._hang_up()

    async def _opened(self, connection: Any) -> None:
        # It is nobody's yet, so nobody looks after it.
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await introduce(connection)
                if self._epoch is not None:
                    await self._epoch.greet(connection)
        except BaseException:
            # The pool would close it politely, and wait for the answer to that.
            connection.terminate()
            raise
        self._open.add(connection)

    async def _lend(self, connection: Any) -> None:
        self._lent[connection] = time.monotonic(), connection.backend

    def _hang_up(self) -> None:
        lost = [connection for connection in self._open if not connection.is_closed()]
        _log.warning("the database is not heard any more; hanging up", connections=len(lost))
        for connection in lost:
            self._left.append(connection.backend)
            connection.terminate()


async def introduce(connection: QueueConnection) -> None:
    """Learn which backend it leads to."""
    own = await _SQL.own_backend.fetchrow(connection)
    assert own is not None, "a backend sees itself"
    connection.backend = Backend(own["pid"], own["backend_start"])


async def open_queues(url: str, epoch: Epoch | None = None) -> Queues:
    """`epoch` is asked about each new connection. Raises what asyncpg raises."""
    pool = await open_pool(
        url,
        application_name="jossiedb relay",
        size=POOL_SIZE,
        settings=PLANNING | LETTING_GO,
        connection_class=QueueConnection,
        make=partial(Queues, epoch=epoch),
        # Its statements stay prepared.
        max_queries=2**31,
        max_cached_statement_lifetime=0,
        max_inactive_connection_lifetime=0,
    )
    assert isinstance(pool, Queues), "it is what makes it"
    return pool
