"""Admits costly reads: only a few at a time for each user, and for the whole process.

A read is admitted before it takes a connection. So most of the pool stays free for other requests.
docs/adr/0020 has the reasons.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Any, cast
from uuid import UUID
from weakref import WeakValueDictionary

import asyncpg
from aiohttp import web

from service.api.call import Call
from service.platform.db import Pool
from service.platform.errors import TooManyRequests, Unavailable
from service.platform.one_connection import OneConnection
from service.platform.queries import load

_SQL = load("admission")

# How many costly reads one user may have at once in this process.
USER_READS = 2
# A read waits this long to be admitted. Then it is refused.
WAIT_SECONDS = 2.0
# The longest time for one statement of a costly read.
STATEMENT_MS = 2000
RETRY_AFTER_SECONDS = 2
# An answer that is sent in parts waits this long for the admission of its next part. That part
# cannot be refused any more: after this time, the answer is cut off.
PART_WAIT_SECONDS = 30.0
# An import takes seconds, or tens of seconds.
IMPORT_RETRY_AFTER_SECONDS = 10


def reads_at_once(pool_size: int) -> int:
    """How many costly reads a process admits: a third of its connections."""
    return max(1, pool_size // 3)


class Admission:
    """Admits the costly reads of one process, in the order in which they came.

    At most USER_READS reads of one user wait or run here. Further reads of that user wait for
    these, so they do not hold up the other users.
    """

    def __init__(self, at_once: int) -> None:
        self._room = asyncio.Semaphore(at_once)
        self._import = asyncio.Semaphore(1)
        self._turns: WeakValueDictionary[UUID, asyncio.Semaphore] = WeakValueDictionary()

    @asynccontextmanager
    async def costly(
        self, pool: Pool, user_id: UUID, *, readonly: bool = True, wait_seconds: float | None = None
    ) -> AsyncIterator[Pool]:
        """Waits for admission, and yields one connection in place of the pool.

        The costly read runs in one transaction on it. A time limit for each statement is set in
        that transaction, so it holds behind a pooler as well.

        Raises TooManyRequests if the user has too many costly reads under way. Raises Unavailable
        if all users together have too many, or if a statement took too long.
        """
        wait_seconds = WAIT_SECONDS if wait_seconds is None else wait_seconds
        async with self._admitted(user_id, time.monotonic() + wait_seconds), self._limited(pool, readonly) as unit:
            yield unit

    @asynccontextmanager
    async def importing(self, pool: Pool) -> AsyncIterator[Pool]:
        """The same for an import. Only one import runs at a time. It uses no slot of the costly
        reads, which would otherwise wait tens of seconds for it. Raises Unavailable if another
        import is still under way after WAIT_SECONDS, or if a statement took too long."""
        if not await _acquired(self._import, time.monotonic() + WAIT_SECONDS):
            raise Unavailable(
                "another import is under way; try again when it has ended",
                retry_after=IMPORT_RETRY_AFTER_SECONDS,
            )
        try:
            async with self._limited(pool, readonly=False) as unit:
                yield unit
        finally:
            self._import.release()

    @asynccontextmanager
    async def _limited(self, pool: Pool, readonly: bool) -> AsyncIterator[Pool]:
        async with (
            pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read" if readonly else "read_committed", readonly=readonly),
        ):
            await _SQL.limit_statements.execute(connection, milliseconds=STATEMENT_MS)
            try:
                # The cast is safe: OneConnection has all that handlers and commands use of a pool.
                yield cast(Pool, OneConnection(connection))
            except asyncpg.QueryCanceledError:
                raise Unavailable(
                    f"this would take the database more than {STATEMENT_MS / 1000:g} s; ask for less, or try again",
                    retry_after=RETRY_AFTER_SECONDS,
                ) from None

    @asynccontextmanager
    async def _admitted(self, user_id: UUID, deadline: float) -> AsyncIterator[None]:
        turn = self._turns.setdefault(user_id, asyncio.Semaphore(USER_READS))
        if not await _acquired(turn, deadline):
            raise TooManyRequests(
                f"you have {USER_READS} costly requests under way; wait until they have ended",
                retry_after=RETRY_AFTER_SECONDS,
            )
        try:
            if not await _acquired(self._room, deadline):
                raise Unavailable("too many costly requests are under way; try again", retry_after=RETRY_AFTER_SECONDS)
            try:
                yield
            finally:
                self._room.release()
        finally:
            turn.release()


async def _acquired(semaphore: asyncio.Semaphore, deadline: float) -> bool:
    if not semaphore.locked():
        return await semaphore.acquire()
    try:
        async with asyncio.timeout(deadline - time.monotonic()):
            return await semaphore.acquire()
    except TimeoutError:
        return False


ADMISSION = web.AppKey("admission", Admission)


def part_of(call: Call[Any, Any], *, wait_seconds: float | None = None) -> AbstractAsyncContextManager[Pool]:
    """Admission for the costly part of a request.

    A request that already runs in one transaction goes on in that transaction. If it asked to be
    admitted a second time, it could wait for itself.
    """
    if call.unit is not None:
        return nullcontext(call.unit)
    return call.request.app[ADMISSION].costly(call.pool, call.user.user_id, wait_seconds=wait_seconds)
