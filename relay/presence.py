"""Presence: every relay refreshes its row each second; one that is not seen any more loses its row, its leases and its locks."""

import asyncio
import os
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid4

from relay.database import Queues
from relay.outage import PRESENCE, Outage
from relay.rates import Rate
from service import __version__
from service.platform.db import is_passing
from service.platform.epoch import MARK_SECONDS, NO_MARK, Epoch, Mark
from service.platform.ids import new_id
from service.platform.logs import get_logger
from service.platform.queries import load
from service.platform.server_clock import SERVER_CLOCK

_log = get_logger(__name__)
_SQL = load("presence")

BEAT_SECONDS = 1.0
STALE_SECONDS = 5.0
# Silent for so long, and its LISTEN backend gone: then it has been killed.
SILENT_SECONDS = 2.5


@dataclass(slots=True)
class RelayStatus:
    """What a relay says of itself."""

    leader: bool = False
    listen_pid: int | None = None
    listen_start: datetime | None = None
    # How many connections to listen on the relay has had.
    listen_number: int = 0
    in_flight: int = 0
    delivered: int = 0
    attempted: int = 0
    poll_wakes: int = 0


class Presence:
    """`on_new_id` is told the relay's id, at the start and when it had been taken for dead; `on_reaped` that leases became void;
    `on_jump` that the server's clock has jumped."""

    def __init__(
        self,
        pool: Queues,
        outage: Outage,
        state: Callable[[], RelayStatus],
        on_new_id: Callable[[UUID], None],
        on_reaped: Callable[[], Awaitable[None]],
        on_jump: Callable[[], None] = lambda: None,
        epoch: Epoch | None = None,
    ) -> None:
        self._pool = pool
        self._outage = outage
        self._state = state
        self._on_new_id = on_new_id
        self._on_reaped = on_reaped
        self._on_jump = on_jump
        self._epoch = epoch or Epoch(self.mark, self.forget)
        self.relay_id = new_id()
        self.relays = 1
        # Peers are only judged by one that has itself been able to beat for as long as it takes to be judged.
        self._steady_since = time.monotonic()
        # When each peer was seen last, by the server's clock, and since when that is so, in monotonic seconds.
        self._peers: dict[UUID, tuple[float, datetime]] = {}
        self._last_beat = time.monotonic()
        self._jumps = SERVER_CLOCK.jumps
        # What the last beat that was answered has written, when, and what the next one writes, until it is answered.
        self._mark: UUID | None = None
        self._marked_at = 0.0
        self._next_mark = uuid4()
        self._forgotten = 0
        self._delivered, self._attempted = Rate(self._last_beat), Rate(self._last_beat)

    async def register(self) -> None:
        relay_id = new_id()
        mark, forgotten = uuid4(), self._forgotten
        await _SQL.register.execute(
            self._pool, id=relay_id, version=__version__, host=socket.gethostname(), pid=os.getpid(), mark=mark
        )
        self._marked(mark, forgotten)
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

    def mark(self) -> Mark:
        """What this relay knows its past by."""
        if self._mark is None or time.clock_gettime(time.CLOCK_BOOTTIME) - self._marked_at > MARK_SECONDS:
            return NO_MARK
        return Mark(relay_id=self.relay_id, values=(self._mark, self._next_mark))

    def forget(self) -> None:
        """Another epoch has begun: this relay is no longer listed."""
        self._mark = None
        self._forgotten += 1

    def _marked(self, mark: UUID, forgotten: int) -> None:
        if forgotten != self._forgotten:
            # It was written before the epoch began that has been adopted meanwhile.
            return
        self._mark, self._next_mark = mark, uuid4()
        # With the time that the machine was suspended.
        self._marked_at = time.clock_gettime(time.CLOCK_BOOTTIME)

    async def leave(self) -> None:
        await _SQL.leave.execute(self._pool, id=self.relay_id)

    async def _beat(self) -> None:
        now = time.monotonic()
        if now - self._last_beat > STALE_SECONDS / 2:
            self._steady_since = now
        state = self._state()
        # Asked now, as another epoch may have begun when the answer comes.
        relay_id, mark, forgotten = self.relay_id, self._next_mark, self._forgotten
        row = await _SQL.beat.fetchrow(
            self._pool,
            id=relay_id,
            mark=mark,
            marks=[mark, self._mark],
            leader=state.leader,
            listen_pid=state.listen_pid,
            listen_start=state.listen_start,
            listen_number=state.listen_number,
            in_flight=state.in_flight,
            delivered=state.delivered,
            attempted=state.attempted,
            poll_wakes=state.poll_wakes,
            deliver_rate=self._delivered.update(state.delivered, now),
            attempt_rate=self._attempted.update(state.attempted, now),
        )
        self._last_beat = time.monotonic()
        if row is None:
            async with self._pool.acquire() as connection:
                # Taken for dead by a peer, or of a past that is lost.
                await self._epoch.greet(connection)
            if self._mark is not None:
                _log.warning("this relay was taken for dead; it goes on under a new id", relay_id=str(self.relay_id))
            await self.register()
            return
        self._marked(mark, forgotten)
        self.relays = len(row["peers"]) + 1
        SERVER_CLOCK.observe(row["now"], now, self._last_beat)
        if SERVER_CLOCK.jumps != self._jumps:
            self._jumps = SERVER_CLOCK.jumps
            _log.warning("the database's clock has jumped")
            self._on_jump()
        await self._pool.look_after()
        self._note(row["peers"], self._last_beat)
        if now - self._steady_since > STALE_SECONDS:
            await self._reap(self._last_beat)

    def _note(self, peers: Sequence[tuple[UUID, datetime, float]], now: float) -> None:
        before, self._peers = self._peers, {}
        for relay_id, seen_at, age in peers:
            known = before.get(relay_id)
            # It was seen up to a beat ago. Anything else that its age says may be due to a clock that has jumped.
            since = known[0] if known is not None and known[1] == seen_at else now - min(max(age, 0.0), BEAT_SECONDS)
            self._peers[relay_id] = since, seen_at

    async def _reap(self, now: float) -> None:
        silent = {relay_id: peer for relay_id, peer in self._peers.items() if now - peer[0] > SILENT_SECONDS}
        if not silent:
            return
        gone = await _SQL.reap.fetch(
            self._pool,
            ids=list(silent),
            seen_ats=[seen_at for _, seen_at in silent.values()],
            stale=[now - since > STALE_SECONDS for since, _ in silent.values()],
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
