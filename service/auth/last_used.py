"""Writes when each session was last used, to the minute. Requests do not wait for it."""

import asyncio
from datetime import timedelta
from uuid import UUID

import asyncpg
from aiohttp import web

from service.platform.db import AWAY, Pool
from service.platform.logs import get_logger
from service.platform.queries import load

_log = get_logger(__name__)
_SQL = load("auth")


class LastUsed:
    """Collects the ids of sessions that were used. One task at a time writes them in a batch. Ids
    that are noted meanwhile form its next batch."""

    def __init__(self, lifetime: timedelta) -> None:
        """`lifetime` is how long a session lasts without a refresh. A later `expires_at` is cut to
        it."""
        self._lifetime = lifetime
        self._noted: set[UUID] = set()
        self._writing: asyncio.Task[None] | None = None

    def note(self, pool: Pool, session_id: UUID) -> None:
        """Note that the session was used now. Returns at once."""
        self._noted.add(session_id)
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write(pool))

    async def written(self) -> None:
        """Wait until every id noted so far is written, or was given up after an error."""
        if self._writing is not None:
            await self._writing

    async def _write(self, pool: Pool) -> None:
        while self._noted:
            batch, self._noted = self._noted, set()
            try:
                await _SQL.use_sessions.execute(pool, ids=list(batch), lifetime=self._lifetime)
            except (*AWAY, asyncpg.PostgresError) as error:
                # The next request of each session notes it again.
                _log.warning("the last use of sessions was not written", error=str(error) or type(error).__name__)


LAST_USED = web.AppKey("last_used", LastUsed)
