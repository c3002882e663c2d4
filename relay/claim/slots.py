"""A relay's slots: how many requests may be in flight at once, in all, for one webhook, for one
owner and to one origin."""

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

# Fan-out searches the list of crowded ids for each webhook that an event goes to.
MAX_CROWDED = 1000
# Fan-out is offered a third of the free reserve at once.
OFFERED_PART = 3
# While lanes wait, one claim fills several free slots together: as soon as half of the main part is
# free, or else after this time. A claim costs the database about as much for one row as for twenty.
PACE_SECONDS = 0.003


@dataclass(frozen=True, slots=True)
class Offer:
    """Slots of the leader for deliveries that fan-out queues: `most` in all, and `per_webhook` for
    each webhook.

    - `crowded`: the ids of webhooks and of owners for which fan-out must lease nothing. Deliveries
      of such a webhook wait or are being claimed, or it uses more than half of its slots. An owner
      with many lanes that wait is named instead of the lanes. An owner who is alone is named while
      the slots belong to the reserve.
    - `reserve`: the slots belong to the reserve, and other requests may take them in the meantime.
    """

    relay_id: UUID = NIL
    most: int = 0
    per_webhook: int = 0
    crowded: tuple[UUID, ...] = ()
    reserve: bool = False


NOTHING = Offer()


class Held(Hashable, Protocol):
    """The holder of a slot. When it is cancelled, it gives the slot back, at once or soon."""

    def cancel(self) -> object: ...


# A slot in use: the webhook, the lease's fence, the place, the part of the relay's pool, the part
# of the origin's pool, and since when, in monotonic seconds. It is a tuple because each delivery
# makes one.
_Flight: TypeAlias = tuple[UUID, int | None, Place, Part, Part, float]


class Slots:
    """The board lists the lanes that wait for a slot. It is notified when a slot becomes free."""

    def __init__(self, concurrency: int, per_webhook: int, board: Board) -> None:
        self._board = board
        self.pool = SlotPool.of_relay(concurrency)
        self._per_webhook = per_webhook
        # Fan-out may take so many slots of a lane. The rest is for claims that run beside it.
        self._share = max(1, per_webhook // 2)
        # Requests in flight, the oldest first: `_slow` has those that `age` found older than
        # SLOW_SECONDS, `_young` the others.
        self._slow: dict[Held, _Flight] = {}
        self._young: dict[Held, _Flight] = {}
        self._empty = asyncio.Event()
        self._empty.set()
        self._per_lane: Counter[UUID] = Counter()
        self._offer = NOTHING
        # How many slots of the main part are offered to fan-out.
        self.promised = 0
        self._closed = asyncio.Event()
        self._closed.set()
        # How many slots of the main part the claim under way may fill, and its lanes.
        self._claiming = 0
        self._claimed: frozenset[UUID] = frozenset()
        self._pace: asyncio.TimerHandle | None = None
        # Set if a claim, or a step before one, had to wait while slots were offered to fan-out. It
        # has the next turn.
        self.held_up = False

    @property
    def in_flight(self) -> int:
        return len(self._young) + len(self._slow)

    @property
    def in_use(self) -> int:
        """The requests in flight, and the slots that fan-out may be filling right now."""
        return self.in_flight + self._offer.most

    @property
    def offered(self) -> bool:
        return self._offer is not NOTHING

    @property
    def free(self) -> int:
        """The free slots of the main part, for any owner."""
        return self.pool.main_free - self._claiming - self.promised

    def room(self, webhook_id: UUID) -> int:
        """How many more requests may be sent for this webhook, besides those offered to fan-out."""
        kept = self._offer.per_webhook if webhook_id not in self._offer.crowded else 0
        return self._per_webhook - self._per_lane[webhook_id] - kept

    def roomy(self, webhook_id: UUID | None = None) -> bool:
        """Whether half of the main part is free, so that lanes need not wait for more slots. With
        `webhook_id`, half of that lane's slots must be free, too."""
        if self.free < self.pool.main / 2:
            return False
        return webhook_id is None or self._per_lane[webhook_id] <= self._per_webhook / 2

    def age(self) -> None:
        """Marks webhooks with a request older than SLOW_SECONDS as no longer quick."""
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
        """Offers slots to fan-out. Those of the main part are kept free until `close`. Lanes with a
        backlog get none, because new events would overtake it. They are about to be claimed from,
        so the slots that they have room for are not offered."""
        waiting.unpark(self.free, self.pool, self.room)
        reserve = self.free <= 0
        if reserve:
            if self.pool.main_free > 0:
                # Slots that are only promised may be free again at once.
                return NOTHING
            # Of the reserve, fan-out is offered slots only for webhooks with nothing waiting. Which
            # lanes that wait may use the reserve, a claim decides.
            free = -(-self.pool.reserve_free // OFFERED_PART)
            crowded = waiting.crowded()
            place = next((flight[2] for flight in (self._slow or self._young).values()), NOWHERE)
            if self.pool.alone(place.owner):
                crowded.add(place.owner.owner_id)
        else:
            if waiting.unparked > MAX_LANES:
                return NOTHING
            # A lane above its limit, if there ever is one, must not add room for others.
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
        """Ends the offer. Slots that were offered and not filled are free again."""
        offer, self._offer = self._offer, NOTHING
        self.promised = 0
        self._closed.set()
        return offer

    def admits(self, place: Place, *, reserve: bool) -> bool:
        """Whether one more request may be sent under a lease that was granted for a slot of the
        main part or of the reserve. A slot that was free at the claim or the offer may be taken by
        now. Besides, fan-out knows neither origins nor which webhooks are quick."""
        origin = place.origin
        if origin.main_free <= 0 and origin.room(place.there, quick=place.taken_for_quick) <= 0:
            return False
        return not reserve or self.pool.admits(place.owner, quick=place.taken_for_quick)

    @contextmanager
    def claiming(self, lanes: Sequence[tuple[UUID, int]], most: int, *, reserve: bool = False) -> Iterator[None]:
        """The slots that a claim may fill, of these lanes and in all, are not free during it. There
        is one claim at a time."""
        self._claiming = 0 if reserve else min(most, sum(share for _, share in lanes))
        self._claimed = frozenset(webhook_id for webhook_id, _ in lanes)
        try:
            yield
        finally:
            self._claiming, self._claimed = 0, frozenset()

    def hold(
        self, holder: Held, webhook_id: UUID, fence: int | None, place: Place = NOWHERE, *, reserve: bool = False
    ) -> None:
        """Takes a slot until `release`. `fence`: that of the lease under which the request is sent.
        `reserve`: the slot belongs to the reserve."""
        origin = place.origin
        part = self.pool.hold(place.owner, reserve)
        part_there = origin.hold(place.there, origin.main_free <= 0)
        self._per_lane[webhook_id] += 1
        self._young[holder] = webhook_id, fence, place, part, part_there, time.monotonic()
        if len(self._young) == 1:
            self._empty.clear()

    def release(self, holder: Held) -> bool:
        """Returns whether its webhook has just become quick."""
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
        """The fences of the leases that are being sent."""
        return [flight[1] for flight in (*self._slow.values(), *self._young.values()) if flight[1] is not None]

    async def emptied(self, seconds: float) -> None:
        """Waits until nothing is in flight, for at most `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                await self._empty.wait()
        except TimeoutError:
            pass

    async def finish(self, grace_seconds: float) -> None:
        """Waits for the requests in flight, for at most `grace_seconds`, then cuts off the rest.
        Nothing is offered any more. Leases of an earlier offer may still come."""
        try:
            async with asyncio.timeout(grace_seconds):
                await self._closed.wait()
                await self._empty.wait()
        except TimeoutError:
            pass
        for holder in (*self._slow, *self._young):
            holder.cancel()
        await self._empty.wait()
