"""Presence: every relay refreshes its row each second; one that is not seen any more loses its row,
its leases and its locks."""

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
# Silent for so long, and its LISTEN backend gone: then it has been killed.
SILENT_SECONDS = 2.5


class Load(Protocol):
    """What a relay has to do, and has done since its start."""

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
        # Peers are only judged by one that has itself been able to beat for as long as it takes to
        # be judged.
        self._steady_since = time.monotonic()
        # When each peer was seen last, by the server's clock, and since when that is so, in
        # monotonic seconds.
        self._peers: dict[UUID, tuple[float, datetime]] = {}
        self._last_beat = time.monotonic()
        self._jumps = SERVER_CLOCK.jumps
        self._delivered, self._attempted = Rate(self._last_beat), Rate(self._last_beat)

    async def start(self) -> None:
        await self.register()
        await super().start()

    async def stop(self) -> None:
        """It beats to the end, or a peer would take over what is still in flight."""
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
        # Not before the reply: if that is lost, the next beat finds no row of the old id, and
        # registers once more. A row that nobody knows of is removed by a peer that finds it silent.
        self._identity.relay_id = relay_id
        # As long as it was not listed, nothing was leased to it.
        self._board.sweep()

    async def run(self) -> None:
        while True:
            began = time.monotonic()
            try:
                # One that takes longer comes too late for the peers; it is also how a server that
                # no longer commits is noticed.
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
        # Asked now, as another epoch may have begun when the reply comes.
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
                # Taken for dead by a peer, or of a past that is lost.
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
            # It was seen up to a beat ago. Anything else that its age says may be due to a clock
            # that has jumped.
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
