"""Refuses logins for a time after ten failed logins of one name from one IP address."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

from aiohttp import web

from service.platform.db import Pool
from service.platform.errors import TooManyRequests
from service.platform.queries import load

_SQL = load("auth")

MAX_LOGIN_FAILURES = 10
LOGIN_FAILURE_MINUTES = 15


class Throttle:
    """Admits login attempts in one API process. The failures are counted in the database, so they
    count in all processes."""

    def __init__(self) -> None:
        self._turns: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def admit(self, pool: Pool, identifier: str, ip_address: str) -> AsyncIterator[None]:
        """Enter this context to verify a password. Raises TooManyRequests.

        An attempt counts as a failure from its start. A login that succeeds removes all failures of
        its name and address. If an attempt counted only after it failed, many simultaneous attempts
        would be admitted before the first one fails.
        """
        # One attempt at a time for each name and address. So if a user signs in several times at
        # once, the attempts do not count against each other.
        turn = self._turns.setdefault((identifier.lower(), ip_address), asyncio.Lock())
        async with turn:
            await _count(pool, identifier, ip_address)
            yield


THROTTLE = web.AppKey("throttle", Throttle)


async def _count(pool: Pool, identifier: str, ip_address: str) -> None:
    tried = {"identifier": identifier, "ip_address": ip_address}
    async with pool.acquire() as connection, connection.transaction():
        await _SQL.await_login_turn.execute(connection, **tried)
        wait = await _SQL.login_wait.fetchval(
            connection, most=MAX_LOGIN_FAILURES, minutes=LOGIN_FAILURE_MINUTES, **tried
        )
        if wait is None:
            await _SQL.insert_login_failure.execute(connection, **tried)
    if wait is not None:
        raise TooManyRequests("too many failed logins from here; wait before the next", retry_after=max(1, wait))
