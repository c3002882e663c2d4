"""Presence: every relay refreshes its row each second. Peers remove the row of a relay that stops,
and so end its leases and its locks."""

import asyncio
import os
import socket
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

from relay.board import Board
from relay.identity import Identity
from relay.service import Service
from relay.watch.database import Queues
from relay.watch.marks import Marks
from relay.watch.outage import PRESENCE, Outage
from relay.watch.rates import Rate
from service import __version__
from service.platform.db import is_passing
from service.platform.epoch import Epoch
from service.platform.ids import new_id
from service.platform.logs import get_logger
from service.platform.queries import load
from service.platform.server_clock import SERVER_CLOCK

_log = get_logger(__name__)
_SQL = load("presence")

BEAT_SECONDS = 1.0
STALE_SECONDS = 5.0
# A peer that is silent for this long and whose LISTEN backend is gone has been killed.
SILENT_SECONDS = 2.5


class Load(Protocol):
    """The requests that a relay has in flight, and its counts since its start."""

    @property
    def in_flight(self) -> int: ...
    @property
    def delivered(self) -> int: ...
    @property
    def attempted(self) -> int: ...


class Presence(Service):
    name = PRESENCE

    def __init__(
        self,
        pool: Queues,
        board: Board,
        outage: Outage,
        identity: Identity,
        *,
        marks: Marks,
        epoch: Epoch,
        load: Load,
    ) -> None:
        self._pool = pool
        self._board = board
        self._outage = outage
        self._identity = identity
        self._marks = marks
        self._epoch = epoch
        self._load = load
        # A relay judges its peers only if it could itself beat for STALE_SECONDS, the time after
        # which it would call them silent. This is when that time began, in monotonic seconds.
        self._steady_since = time.monotonic()
        # For each peer: its last `seen_at`, by the server's clock, and since when that has not
        # changed, in monotonic seconds.
        self._peers: dict[UUID, tuple[float, datetime]] = {}
        self._last_beat = time.monotonic()
        self._jumps = SERVER_CLOCK.jumps
        self._delivered, self._attempted = Rate(self._last_beat), Rate(self._last_beat)

    async def start(self) -> None:
        await self.register()
        await super().start()

    async def stop(self) -> None:
        """Beats until the end. Otherwise a peer would take over the requests still in flight."""
        await super().stop()
        await self.leave()

    async def register(self) -> None:
        relay_id = new_id()
        mark = self._marks.fresh()
        await _SQL.register.execute(
            self._pool,
            id=relay_id,
            version=__version__,
            host=socket.gethostname(),
            pid=os.getpid(),
            mark=mark.value,
        )
        self._marks.written(mark)
        # Set the id only after the reply. If the reply is lost, the next beat finds no row of the
        # old id and registers once more. The row of the lost reply is silent, so a peer removes it.
        self._identity.relay_id = relay_id
        # While this relay was not listed, nothing was leased to it.
        self._board.sweep()

    async def run(self) -> None:
        while True:
            began = time.monotonic()
            try:
                # A slower beat comes too late for the peers. The limit also shows that a server no
                # longer commits.
                async with asyncio.timeout(STALE_SECONDS):
                    await self._beat()
            except Exception as error:
                if not is_passing(error):
                    raise
                await self._outage.wait(self.name, error)
            else:
                self._outage.over(self.name)
                self._outage.alive(began)
            await asyncio.sleep(BEAT_SECONDS)

    async def leave(self) -> None:
        await _SQL.leave.execute(self._pool, id=self._identity.relay_id)

    async def _beat(self) -> None:
        now = time.monotonic()
        if now - self._last_beat > STALE_SECONDS / 2:
            self._steady_since = now
        identity, load = self._identity, self._load
        # Take the mark now: another epoch may have begun when the reply comes.
        mark = self._marks.next()
        delivered, attempted = load.delivered, load.attempted
        row = await _SQL.beat.fetchrow(
            self._pool,
            id=identity.relay_id,
            mark=mark.value,
            marks=[mark.value, self._marks.last],
            leader=identity.leads.is_set(),
            listen_pid=identity.listen_pid,
            listen_start=identity.listen_start,
            listen_number=identity.listen_number,
            in_flight=load.in_flight,
            delivered=delivered,
            attempted=attempted,
            poll_wakes=identity.poll_wakes,
            deliver_rate=self._delivered.update(delivered, now),
            attempt_rate=self._attempted.update(attempted, now),
        )
        self._last_beat = time.monotonic()
        if row is None:
            async with self._pool.acquire() as connection:
                # A peer has removed this relay, or the row belongs to a past that is lost.
                await self._epoch.greet(connection)
            if self._marks.last is not None:
                _log.warning(
                    "this relay was taken for dead; it goes on under a new id", relay_id=str(identity.relay_id)
                )
            await self.register()
            return
        self._marks.written(mark)
        identity.listed = len(row["peers"]) + 1
        SERVER_CLOCK.observe(row["now"], now, self._last_beat)
        if SERVER_CLOCK.jumps != self._jumps:
            self._jumps = SERVER_CLOCK.jumps
            _log.warning("the database's clock has jumped")
            self._board.clock_jumped()
        await self._pool.look_after()
        self._note(row["peers"], self._last_beat)
        if now - self._steady_since > STALE_SECONDS:
            await self._reap(self._last_beat)

    def _note(self, peers: Sequence[tuple[UUID, datetime, float]], now: float) -> None:
        before, self._peers = self._peers, {}
        for relay_id, seen_at, age in peers:
            known = before.get(relay_id)
            # `seen_at` was written up to a beat ago. A greater or negative age may come from a
            # clock that has jumped, so it is not trusted.
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
            self._board.sweep_everywhere()
