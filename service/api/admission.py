"""Costly reads: few at a time, of each user and of the process, admitted before they take a connection.

So most of the pool is there for everything else, whoever asks for what. How it was decided: docs/adr/0020.
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
from service.api.one_connection import OneConnection
from service.platform.db import Pool
from service.platform.errors import TooManyRequests, Unavailable
from service.platform.queries import load

_SQL = load("admission")

# Of a user, at once, in this process.
USER_READS = 2
# How long a read waits to be admitted before it is refused.
WAIT_SECONDS = 2.0
# How long each of its statements may take.
STATEMENT_MS = 2000
RETRY_AFTER_SECONDS = 2
# How long the next part of an answer that is half sent waits. It cannot be refused any more, only cut off.
PART_WAIT_SECONDS = 30.0
# An import takes seconds, or tens of them.
IMPORT_RETRY_AFTER_SECONDS = 10


def reads_at_once(pool_size: int) -> int:
    """How many costly reads a process admits: a third of its connections."""
    return max(1, pool_size // 3)


class Admission:
    """Of one process. First come, first served, among users as well: no user has more than USER_READS in front of the others."""

    def __init__(self, at_once: int) -> None:
        self._room = asyncio.Semaphore(at_once)
        self._import = asyncio.Semaphore(1)
        self._turns: WeakValueDictionary[UUID, asyncio.Semaphore] = WeakValueDictionary()

    @asynccontextmanager
    async def costly(
        self, pool: Pool, user_id: UUID, *, readonly: bool = True, wait_seconds: float | None = None
    ) -> AsyncIterator[Pool]:
        """What stands in for the pool in one costly read: one connection, in one transaction whose statements are limited, which
        holds behind a pooler as well. Raises TooManyRequests where the user has too many of them, Unavailable where all users
        together have, and Unavailable for a statement that took too long."""
        wait_seconds = WAIT_SECONDS if wait_seconds is None else wait_seconds
        async with self._admitted(user_id, time.monotonic() + wait_seconds), self._limited(pool, readonly) as unit:
            yield unit

    @asynccontextmanager
    async def importing(self, pool: Pool) -> AsyncIterator[Pool]:
        """The same for an import: one at a time, and in no place of the costly reads, which would
        wait for tens of seconds. Raises Unavailable while another is under way."""
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
                # The cast: handlers and commands use nothing of a pool that OneConnection has not.
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
    """Admission for the costly part of a request. A request that was admitted as a whole goes on in
    its own transaction: to be admitted twice, it could wait for itself."""
    if call.unit is not None:
        return nullcontext(call.unit)
    return call.request.app[ADMISSION].costly(call.pool, call.user.user_id, wait_seconds=wait_seconds)
