"""Ten failed logins of a name from an address, and it waits."""

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
    def __init__(self) -> None:
        self._turns: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def admit(self, pool: Pool, identifier: str, ip_address: str) -> AsyncIterator[None]:
        """While a password is verified. It counts as a failure from the start, until a login that succeeds forgets all of them:
        otherwise those who try at once would all be let in before the first has failed. Raises TooManyRequests."""
        # One at a time in this process, so that users who sign in at once are not in each other's way.
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
