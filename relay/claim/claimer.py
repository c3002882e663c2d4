"""Claims from the agenda: leases due deliveries, starts to send them, and notes what stays."""

import time
from collections import Counter
from collections.abc import Sequence
from uuid import UUID

from relay.board import Board
from relay.claim.claim import Claimed, Claims, Share
from relay.claim.flights import Flights
from relay.claim.leases import Leases
from relay.claim.slots import Slots
from relay.rules.agenda import Floors
from relay.rules.remainder import remainder
from service.platform.db import Pool
from service.platform.queries import load

_SQL = load("claim")


class Claimer:
    def __init__(
        self, pool: Pool, board: Board, claims: Claims, slots: Slots, leases: Leases, flights: Flights
    ) -> None:
        self._pool = pool
        self._board = board
        self._claims = claims
        self._slots = slots
        self._leases = leases
        self._flights = flights
        self._floors = Floors()

    def forget_floors(self) -> None:
        """A sweep looks for deliveries that may stand before the floors."""
        self._floors.clear()

    async def claim(self, lanes: Sequence[Share], free: int, *, reserve: bool = False, suspects: bool = False) -> bool:
        """Claims at most the given number of deliveries of each lane, and `free` in all, and starts
        to send them. `reserve`: they get slots of the reserve. True if anything was claimed."""
        if suspects:
            # Suspects are older than the floor of their lane.
            self._floors.clear()
        floors = self._floors.of(webhook_id for webhook_id, _ in lanes)
        try:
            with self._slots.claiming(lanes, free, reserve=reserve):
                claimed = await self._claims.claim(lanes, floors, most=free, suspects=suspects)
        except BaseException:
            webhook_ids = [webhook_id for webhook_id, _ in lanes]
            self._board.due(webhook_ids)
            self._leases.unconfirmed_in(webhook_ids)
            raise
        got = Counter(lease.webhook_id for lease in claimed.leases)
        full = len(claimed.leases) >= free
        left = remainder(lanes, floors, got, claimed.waits, full=full)
        self._floors.rise(claimed.ends)
        for webhook_id in left.looked_through:
            self._floors.drop(webhook_id)
        self._board.agenda.add(left.nothing)
        self._board.agenda.add(left.more)
        if left.look_now:
            self._board.room()
        for webhook_id, seconds in claimed.waits.items():
            self._board.look_at(webhook_id, claimed.answered_at + seconds)
        self._send(claimed, reserve=reserve)
        if timed := self._board.agenda.take_timed(left.empty):
            await self._time(timed, claimed.asked_at)
        return bool(claimed.leases) or full

    def _send(self, claimed: Claimed, *, reserve: bool) -> None:
        if claimed.moment is None:
            return
        for lease in claimed.leases:
            self._flights.start(lease, claimed.targets.get(lease.webhook_id), claimed.moment, reserve=reserve)

    async def _time(self, webhook_ids: Sequence[UUID], asked_at: float) -> None:
        """Finds out when these lanes have something due again. A timer knows one time only, and the
        server's clock may have changed since the timer was set. Deliveries that have become due
        since the claim must not be missed."""
        ago = time.monotonic() - asked_at
        for row in await _SQL.soonest.fetch(self._pool, webhook_ids=webhook_ids, ago=ago, now=None):
            if row["due_in"] > 0:
                self._board.due_in(row["webhook_id"], row["due_in"])
            else:
                self._board.found_due((row["webhook_id"],))
