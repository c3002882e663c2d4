"""A relay's slots: how many requests it may have under way at once, in all, for one webhook, for
one owner and to one origin."""

import asyncio
import time
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeAlias
from uuid import UUID

from relay.board import Board
from relay.rules.agenda import NIL
from relay.rules.shares import NOWHERE, SLOW_SECONDS, Part, Place, SlotPool
from relay.rules.turns import MAX_LANES, Turns

# Fan-out looks through what is crowded for each webhook that an event goes to.
MAX_CROWDED = 1000
# How much of what is free of the reserve is offered to fan-out at once: a third.
OFFERED_PART = 3
# While lanes wait, slots that become free are filled together, half of them at once or as many as
# there are after so long: a claim costs the database about as much for one row as for twenty.
PACE_SECONDS = 0.003


@dataclass(frozen=True, slots=True)
class Offer:
    """Slots of the leader's for what fan-out queues: so many in all and for each webhook, but none
    for webhooks that are `crowded`, nor for those of owners who are. `reserve`: they are of the
    reserve, and others may have taken them by then."""

    relay_id: UUID = NIL
    most: int = 0
    per_webhook: int = 0
    crowded: tuple[UUID, ...] = ()
    reserve: bool = False


NOTHING = Offer()


class Held(Hashable, Protocol):
    """What holds a slot. When it is cancelled it gives it back, at once or soon."""

    def cancel(self) -> object: ...


# A slot in use: the webhook, the lease's fence, the parts of the relay's pool and of the origin's
# that it is of, and since when, in monotonic seconds. A tuple, as one is made for each delivery.
_Flight: TypeAlias = tuple[UUID, int | None, Place, Part, Part, float]


class Slots:
    """When a slot becomes free, the lanes that wait for it are on the board."""

    def __init__(self, concurrency: int, per_webhook: int, board: Board) -> None:
        self._board = board
        self.pool = SlotPool.of_relay(concurrency)
        self._per_webhook = per_webhook
        # What fan-out may take of a lane: the rest is for claims that run beside it.
        self._share = max(1, per_webhook // 2)
        # Those older than SLOW_SECONDS, as far as has been looked, and the others, the oldest
        # first.
        self._slow: dict[Held, _Flight] = {}
        self._young: dict[Held, _Flight] = {}
        self._empty = asyncio.Event()
        self._empty.set()
        self._per_lane: Counter[UUID] = Counter()
        self._offer = NOTHING
        # How much of the main part is offered to fan-out.
        self.promised = 0
        self._closed = asyncio.Event()
        self._closed.set()
        # What a claim that is under way may fill of the main part, and of which lanes.
        self._claiming = 0
        self._claimed: frozenset[UUID] = frozenset()
        self._pace: asyncio.TimerHandle | None = None
        # Whether a claim, or what comes before one, had to wait while slots were offered to
        # fan-out. It has the next turn.
        self.held_up = False

    @property
    def in_flight(self) -> int:
        return len(self._young) + len(self._slow)

    @property
    def in_use(self) -> int:
        """Those in flight, and those that fan-out may be filling right now."""
        return self.in_flight + self._offer.most

    @property
    def offered(self) -> bool:
        return self._offer is not NOTHING

    @property
    def free(self) -> int:
        """Of the main part, whoever asks."""
        return self.pool.main_free - self._claiming - self.promised

    def room(self, webhook_id: UUID) -> int:
        """How many more requests the webhook may be sent."""
        kept = self._offer.per_webhook if webhook_id not in self._offer.crowded else 0
        return self._per_webhook - self._per_lane[webhook_id] - kept

    def roomy(self, webhook_id: UUID | None = None) -> bool:
        """Whether half of the main part is free, so that what waits need not wait for more;
        `webhook_id`: of this lane's, too."""
        if self.free < self.pool.main / 2:
            return False
        return webhook_id is None or self._per_lane[webhook_id] <= self._per_webhook / 2

    def age(self) -> None:
        """Webhooks with a request that has become too old are not quick any more."""
        before = time.monotonic() - SLOW_SECONDS
        while self._young:
            holder, flight = next(iter(self._young.items()))
            _, _, place, part, _, since = flight
            if since > before:
                break
            del self._young[holder]
            self._slow[holder] = flight
            place.slow += 1
            place.quick = False
            if part != "main":
                place.owner.slow += 1
                place.owner.quick = False

    def offer(self, relay_id: UUID, waiting: Turns) -> Offer:
        """Slots of the main part are kept free until `close`. Lanes with a backlog get none, as new
        events would overtake it; they are about to be claimed from, and what they have room for is
        not offered."""
        waiting.unpark(self.free, self.pool, self.room)
        reserve = self.free <= 0
        if reserve:
            if self.pool.main_free > 0:
                # What is merely promised may be free again at once.
                return NOTHING
            # For owners who have nothing that waits. A claim knows better who else may have some.
            free = -(-self.pool.reserve_free // OFFERED_PART)
            crowded = waiting.crowded()
            place = next((flight[2] for flight in (self._slow or self._young).values()), NOWHERE)
            if self.pool.alone(place.owner):
                crowded.add(place.owner.owner_id)
        else:
            if waiting.unparked > MAX_LANES:
                return NOTHING
            # What has more than it may, if anything ever has, makes no room for others.
            free = self.free - sum(max(0, self.room(webhook_id)) for webhook_id in waiting)
            crowded = waiting.crowded_at_origins().union(waiting)
        if free <= 0 or len(crowded) > MAX_CROWDED:
            return NOTHING
        self._closed.clear()
        full = self._per_webhook - self._share
        crowded.update(webhook_id for webhook_id, busy in self._per_lane.items() if busy > full)
        crowded.update(self._claimed)
        self._offer = Offer(relay_id, free, self._share, tuple(crowded), reserve)
        self.promised = 0 if reserve else free
        return self._offer

    def close(self) -> Offer:
        """What was offered and not filled is free again."""
        offer, self._offer = self._offer, NOTHING
        self.promised = 0
        self._closed.set()
        return offer

    def admits(self, place: Place, *, reserve: bool) -> bool:
        """Whether one more request may be sent of what was leased, for slots of the reserve or of
        the main part: what was free then may not be any more, and fan-out knows neither origins nor
        who is quick."""
        origin = place.origin
        if origin.main_free <= 0 and origin.room(place.there, quick=place.taken_for_quick) <= 0:
            return False
        return not reserve or self.pool.admits(place.owner, quick=place.taken_for_quick)

    @contextmanager
    def claiming(self, lanes: Sequence[tuple[UUID, int]], most: int, *, reserve: bool = False) -> Iterator[None]:
        """What a claim may fill of these lanes, and in all, is not free meanwhile. One claim at a
        time."""
        self._claiming = 0 if reserve else min(most, sum(share for _, share in lanes))
        self._claimed = frozenset(webhook_id for webhook_id, _ in lanes)
        try:
            yield
        finally:
            self._claiming, self._claimed = 0, frozenset()

    def hold(
        self, holder: Held, webhook_id: UUID, fence: int | None, place: Place = NOWHERE, *, reserve: bool = False
    ) -> None:
        """A slot is in use until `release`. `fence`: of the lease that is sent under it; `reserve`:
        it is of the reserve."""
        origin = place.origin
        part = self.pool.hold(place.owner, reserve)
        part_there = origin.hold(place.there, origin.main_free <= 0)
        self._per_lane[webhook_id] += 1
        self._young[holder] = webhook_id, fence, place, part, part_there, time.monotonic()
        if len(self._young) == 1:
            self._empty.clear()

    def release(self, holder: Held) -> bool:
        """Whether its webhook has become known to be quick."""
        if (flight := self._young.pop(holder, None)) is not None:
            webhook_id, _, place, part, part_there, since = flight
            quick = time.monotonic() - since < SLOW_SECONDS
        else:
            webhook_id, _, place, part, part_there, _ = self._slow.pop(holder)
            quick = False
            place.slow -= 1
            if part != "main":
                place.owner.slow -= 1
        if part != "main":
            place.owner.quick = quick and not place.owner.slow
        self.pool.release(place.owner, part)
        place.origin.release(place.there, part_there)
        if (left := self._per_lane[webhook_id] - 1) > 0:
            self._per_lane[webhook_id] = left
        else:
            del self._per_lane[webhook_id]
        if not self._young and not self._slow:
            self._empty.set()
        before, place.quick = place.quick, quick and not place.slow
        became_quick = place.quick and not before
        if became_quick:
            self._board.agenda.turns.changed(webhook_id)
        self._freed(webhook_id)
        return became_quick

    def _freed(self, webhook_id: UUID) -> None:
        if not len(self._board.agenda.turns) or self._board.claiming.is_set():
            return
        if self.roomy(webhook_id):
            self._board.room()
        elif self._pace is None:
            self._pace = asyncio.get_running_loop().call_later(PACE_SECONDS, self._paced)

    def _paced(self) -> None:
        self._pace = None
        self._board.room()

    def fences(self) -> list[int]:
        """Of the leases that are being sent."""
        return [flight[1] for flight in (*self._slow.values(), *self._young.values()) if flight[1] is not None]

    async def emptied(self, seconds: float) -> None:
        """Wait until nothing is in flight, at most so long."""
        try:
            async with asyncio.timeout(seconds):
                await self._empty.wait()
        except TimeoutError:
            pass

    async def finish(self, grace_seconds: float) -> None:
        """Wait for what is in flight, at most so long; what is not done then is cut off. Nothing is
        offered any more; what was before may still come."""
        try:
            async with asyncio.timeout(grace_seconds):
                await self._closed.wait()
                await self._empty.wait()
        except TimeoutError:
            pass
        for holder in (*self._slow, *self._young):
            holder.cancel()
        await self._empty.wait()
