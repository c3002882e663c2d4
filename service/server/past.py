"""Which past the database has, as the API knows it: by the greatest position that it has seen, and that event's id."""

import asyncio
from typing import Any

import asyncpg

from service.platform.db import AWAY, Pool
from service.platform.epoch import NO_MARK, Epoch, Mark
from service.platform.queries import load

_SQL = load("past")
# How often it looks for a greater one. So it also hears what time it is there, while nobody asks it anything.
LOOK_SECONDS = 5.0
_GREET_SECONDS = 10.0


class Past:
    def __init__(self) -> None:
        self._mark = NO_MARK
        self.epoch = Epoch(lambda: self._mark, self._forget)

    def _forget(self) -> None:
        self._mark = NO_MARK

    async def greet(self, connection: Any) -> None:
        """Ask a new connection, before it is used, and remember what it shows."""
        async with asyncio.timeout(_GREET_SECONDS):
            await self.epoch.greet(connection)
            row = await _SQL.newest.fetchrow(connection)
        if row is not None and row["position"] > (self._mark.position or 0):
            self._mark = Mark(position=row["position"], event_id=row["id"])

    async def run(self, pool: Pool) -> None:
        """For ever. While the database is away, those say so who need it."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                async with pool.acquire(timeout=_GREET_SECONDS) as connection:
                    await self.greet(connection)
            except (*AWAY, asyncpg.PostgresError):
                continue
