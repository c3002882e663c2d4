"""Presence: every relay refreshes its row each second; one that is not seen any more loses its row, its leases and its locks."""

import asyncio
import os
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from relay.database import Queues
from relay.outage import PRESENCE, Outage
from relay.rates import Rate
from service import __version__
from service.platform.db import is_passing
from service.platform.ids import new_id
from service.platform.logs import get_logger
from service.platform.queries import load

_log = get_logger(__name__)
_SQL = load("presence")

BEAT_SECONDS = 1.0
STALE_SECONDS = 5.0
# Silent for so long, and its LISTEN backend gone: then it has been killed.
SILENT_SECONDS = 2.5


@dataclass(slots=True)
class State:
    """What a relay says of itself."""

    leader: bool = False
    listen_pid: int | None = None
    listen_start: datetime | None = None
    in_flight: int = 0
    delivered: int = 0
    attempted: int = 0
    poll_wakes: int = 0


class Presence:
    """`on_new_id` is told the relay's id, at the start and when it had been taken for dead; `on_reaped` that leases became void."""

    def __init__(
        self,
        pool: Queues,
        outage: Outage,
        state: Callable[[], State],
        on_new_id: Callable[[UUID], None],
        on_reaped: Callable[[], Awaitable[None]],
    ) -> None:
        self._pool = pool
        self._outage = outage
        self._state = state
        self._on_new_id = on_new_id
        self._on_reaped = on_reaped
        self.relay_id = new_id()
        self.relays = 1
        # Peers are only judged by one that has itself been able to beat for as long as it takes to be judged.
        self._steady_since = time.monotonic()
        # Of those that are silent by the server's clock: since when, by this one's, and when they were seen last.
        self._silent: dict[UUID, tuple[float, datetime]] = {}
        self._last_beat = time.monotonic()
        self._delivered, self._attempted = Rate(self._last_beat), Rate(self._last_beat)

    async def register(self) -> None:
        relay_id = new_id()
        await _SQL.register.execute(
            self._pool, id=relay_id, version=__version__, host=socket.gethostname(), pid=os.getpid()
        )
        # Not before it has been answered: if that is lost, the next beat finds no row of the old id, and registers once more. A row
        # that nobody knows of is removed by whoever sees that it is silent.
        self.relay_id = relay_id
        self._on_new_id(relay_id)

    async def run(self) -> None:
        while True:
            began = time.monotonic()
            try:
                # One that takes longer comes too late for the peers; it is also how a server that no longer commits is noticed.
                async with asyncio.timeout(STALE_SECONDS):
                    await self._beat()
            except Exception as error:
                if not is_passing(error):
                    raise
                await self._outage.wait(PRESENCE, error)
            else:
                self._outage.over(PRESENCE)
                self._outage.alive(began)
            await asyncio.sleep(BEAT_SECONDS)

    async def leave(self) -> None:
        await _SQL.leave.execute(self._pool, id=self.relay_id)

    async def _beat(self) -> None:
        now = time.monotonic()
        if now - self._last_beat > STALE_SECONDS / 2:
            self._steady_since = now
        state = self._state()
        row = await _SQL.beat.fetchrow(
            self._pool,
            id=self.relay_id,
            leader=state.leader,
            listen_pid=state.listen_pid,
            listen_start=state.listen_start,
            in_flight=state.in_flight,
            delivered=state.delivered,
            attempted=state.attempted,
            poll_wakes=state.poll_wakes,
            deliver_rate=self._delivered.update(state.delivered, now),
            attempt_rate=self._attempted.update(state.attempted, now),
            silent_seconds=SILENT_SECONDS,
        )
        self._last_beat = time.monotonic()
        if row is None:
            _log.warning("this relay was taken for dead; it goes on under a new id", relay_id=str(self.relay_id))
            await self.register()
            return
        self.relays = row["relays"]
        await self._pool.look_after()
        self._note(row["silent"], now)
        if self._silent and now - self._steady_since > STALE_SECONDS:
            await self._reap(now)

    def _note(self, silent: Sequence[tuple[UUID, datetime]], now: float) -> None:
        before, self._silent = self._silent, {}
        for relay_id, seen_at in silent:
            since, known = before.get(relay_id, (now, seen_at))
            self._silent[relay_id] = (since if known == seen_at else now), seen_at

    async def _reap(self, now: float) -> None:
        gone = await _SQL.reap.fetch(
            self._pool,
            ids=list(self._silent),
            seen_ats=[seen_at for _, seen_at in self._silent.values()],
            # Whether they have missed a beat while this relay looked.
            missed=[now - since > BEAT_SECONDS * 1.5 for since, _ in self._silent.values()],
            stale_seconds=STALE_SECONDS,
            silent_seconds=SILENT_SECONDS,
        )
        for row in gone:
            _log.warning(
                "a relay is gone; its leases are void",
                gone=str(row["id"]),
                leader=row["leader"],
                ended=row["terminated"],
            )
        if gone:
            await self._on_reaped()
