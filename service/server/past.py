"""The API process's mark: the greatest position that it has seen, and the id of the event there.

The mark shows whether the database still has the past that this process knows (docs/adr/0024).
"""

import asyncio
from typing import Any

import asyncpg

from service.platform.db import AWAY, Pool
from service.platform.epoch import NO_MARK, Epoch, Mark
from service.platform.queries import load

_SQL = load("past")
# How often the process looks for a greater position. The look also observes the server's clock
# while no requests come.
LOOK_SECONDS = 5.0
_GREET_SECONDS = 10.0


class Past:
    """Keeps the mark, and the epoch that this process knows. `greet` and `run` renew the mark."""

    def __init__(self) -> None:
        self._mark = NO_MARK
        self.epoch = Epoch(lambda: self._mark, self._forget)

    def _forget(self) -> None:
        self._mark = NO_MARK

    async def greet(self, connection: Any) -> None:
        """Check the epoch on a new connection, before it is used, and renew the mark. Raises
        Unsettled, TimeoutError, and errors of asyncpg."""
        async with asyncio.timeout(_GREET_SECONDS):
            await self.epoch.greet(connection)
            row = await _SQL.newest.fetchrow(connection)
        if row is not None and row["position"] > (self._mark.position or 0):
            self._mark = Mark(position=row["position"], event_id=row["id"])

    async def run(self, pool: Pool) -> None:
        """Renews the mark again and again, without an end. Errors are not logged here: requests
        that fail report that the database is away."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                async with pool.acquire(timeout=_GREET_SECONDS) as connection:
                    await self.greet(connection)
            except (*AWAY, asyncpg.PostgresError):
                continue
