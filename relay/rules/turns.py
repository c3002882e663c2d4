"""The lanes that may have something due, by owner, and which of them the next claim asks for."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from uuid import UUID

from relay.rules.parked import Kind, Parked, Queue
from relay.rules.shares import Party, Place, SlotPool, level

# One claim asks at most so many lanes.
MAX_LANES = 200
# A claim for one owner asks each lane for at least this many, if the lane has room. So a few lanes
# still make a batch.
LEAST_SHARE = 4


@dataclass(frozen=True, slots=True)
class Plan:
    """A claim: the lanes with how many deliveries to ask of each, and `most` in all. `reserve`: it
    is for slots of the reserve. `more`: it may leave slots free for lanes that wait after it."""

    lanes: tuple[tuple[UUID, int], ...] = ()
    most: int = 0
    reserve: bool = False
    more: bool = False


NO_CLAIM = Plan()


class Turns:
    """Lanes in rotation: owners take turns, and so do the lanes of each owner. A lane whose origin
    has no room for its owner is parked until the origin has room. So no claim looks through all of
    them meanwhile."""

    def __init__(self) -> None:
        # Lanes whose owner and origin are not known yet.
        self._unplaced: dict[UUID, None] = {}
        self.places: dict[UUID, Place] = {}
        self.queues: dict[Party, Queue] = {}
        self._parked = Parked()
        self._number = 0

    def __len__(self) -> int:
        return len(self._unplaced) + len(self.places)

    @property
    def unparked(self) -> int:
        return len(self) - len(self._parked)

    def __iter__(self) -> Iterator[UUID]:
        """The lanes that are not parked."""
        yield from self._unplaced
        for queue in self.queues.values():
            yield from queue.in_turn()

    def add(self, webhook_ids: Iterable[UUID]) -> None:
        """A lane that is here already keeps its turn."""
        for webhook_id in webhook_ids:
            if webhook_id not in self.places:
                self._unplaced.setdefault(webhook_id)

    def unplaced(self, most: int) -> list[UUID]:
        return [webhook_id for webhook_id, _ in zip(self._unplaced, range(most), strict=False)]

    def place(self, webhook_ids: Iterable[UUID], place_of: Callable[[UUID], Place | None]) -> None:
        """Queues unplaced lanes by their places. Their turns come after those of the placed lanes.
        If a lane has no place, its webhook does not exist, and the lane is dropped."""
        for webhook_id in webhook_ids:
            if webhook_id not in self._unplaced:
                continue
            del self._unplaced[webhook_id]
            if (place := place_of(webhook_id)) is not None:
                self.places[webhook_id] = place
                self._number += 1
                self._queue(webhook_id, place, self._number)

    def changed(self, webhook_id: UUID) -> None:
        """Whether the webhook is quick has changed."""
        if (place := self.places.get(webhook_id)) is None:
            return
        queue = self.queues.get(place.owner)
        if queue is not None and webhook_id in queue:
            queue.add(webhook_id, place, queue.remove(webhook_id))
        else:
            self._parked.changed(webhook_id, place)

    def crowded(self) -> set[UUID]:
        """The ids that fan-out must not overtake: of parked and waiting lanes, or of their owners
        if they have many."""
        return self._parked.named().union(*(queue.named() for queue in self.queues.values()))

    def crowded_at_origins(self) -> set[UUID]:
        return self._parked.named()

    def plan(self, main: int, pool: SlotPool, room: Callable[[UUID], int]) -> Plan:
        """The next claim. `main`: how many slots of the main part are free. If that part is full,
        the claim is for the reserve, but there is none if its free slots are only promised to
        fan-out. `room`: how many more requests a webhook may be sent.

        The lanes of the claim are removed here. The claim's result says which of them still have
        something due. A hint that comes while the claim runs adds its lane again, so it is not
        lost."""
        if main <= 0 < pool.main_free:
            return NO_CLAIM
        self.unpark(main, pool, room)
        if not self.queues:
            return NO_CLAIM
        picking = _Picking(self, room)
        if main > 0 and len(self.queues) == 1:
            (party,) = self.queues
            lanes = picking.all_of(party, main)
            # The lanes that it leaves have no room, or come when there is a batch to claim again.
            more = picking.cut or not pool.alone(party) or len(self._parked) > 0
        else:
            lanes = picking.by_level(main) if main > 0 else picking.of_reserve(pool)
            more = True
        if not lanes:
            return NO_CLAIM
        self._remove(webhook_id for webhook_id, _ in lanes)
        most = main if main > 0 else sum(share for _, share in lanes)
        return Plan(tuple(lanes), most, reserve=main <= 0, more=more)

    def unpark(self, main: int, pool: SlotPool, room: Callable[[UUID], int]) -> None:
        """Puts back parked lanes for which both their origin and the relay have room now."""

        def kind_of(owner: Party) -> Kind | None:
            if main > 0:
                return "all"
            if pool.alone(owner):
                return None
            return "all" if pool.first(owner) else "quick" if pool.further(owner) else None

        for webhook_id, number in self._parked.leave(kind_of, room):
            self._queue(webhook_id, self.places[webhook_id], number)

    def park(self, webhook_id: UUID) -> None:
        """Parks this lane until its origin has room for its owner."""
        place = self.places[webhook_id]
        queue = self.queues[place.owner]
        self._parked.add(webhook_id, place, queue.remove(webhook_id))
        if not queue:
            del self.queues[place.owner]

    def _queue(self, webhook_id: UUID, place: Place, number: int) -> None:
        if (queue := self.queues.get(place.owner)) is None:
            queue = self.queues[place.owner] = Queue(place.owner)
        queue.add(webhook_id, place, number)

    def _remove(self, webhook_ids: Iterable[UUID]) -> None:
        owners: dict[Party, None] = {}
        for webhook_id in webhook_ids:
            place = self.places.pop(webhook_id)
            owners[place.owner] = None
            self.queues[place.owner].remove(webhook_id)
        for party in owners:
            # This owner's next turn comes after the others'.
            queue = self.queues.pop(party)
            if queue:
                self.queues[party] = queue


class _Picking:
    """Picks the lanes of one plan, with how many deliveries to ask of each."""

    def __init__(self, turns: Turns, room: Callable[[UUID], int]) -> None:
        self._turns = turns
        self._room = room
        # How many slots the plan takes of each origin, and whether that left lanes out.
        self._taken: dict[SlotPool, int] = {}
        self.cut = False

    def all_of(self, party: Party, slots: int) -> list[tuple[UUID, int]]:
        """The lanes of the only owner who waits. A lane may have fewer due than it is asked for. So
        all lanes together are asked for more than there are slots."""
        lanes = self._open(self._turns.queues[party].in_turn(), MAX_LANES)
        share = max(LEAST_SHARE, -(-slots // len(lanes))) if lanes else 0
        return self._ask(lanes, lambda room: min(share, room))

    def by_level(self, slots: int) -> list[tuple[UUID, int]]:
        """The lanes of several owners. Owners with the fewest requests in flight get slots first,
        until they have as many as the others."""
        queues = list(self._turns.queues.items())
        most = min(slots, max(1, 2 * MAX_LANES // len(queues)))
        found = {party: self._open(queue.in_turn(), most) for party, queue in queues}
        wants = [(party, sum(room for _, room in lanes)) for party, lanes in found.items()]
        asked: list[tuple[UUID, int]] = []
        for party, budget in level(slots, wants):
            lanes = found[party][: min(budget, MAX_LANES - len(asked))]
            asked += self._ask(lanes, _Even(budget, len(lanes)))
        return asked

    def of_reserve(self, pool: SlotPool) -> list[tuple[UUID, int]]:
        """The lanes of owners who may use the reserve. Owners who use the least of it come
        first."""
        asked: list[tuple[UUID, int]] = []
        first_taken = further_taken = 0
        for party in sorted(self._turns.queues, key=lambda party: party.first + party.further):
            if pool.alone(party):
                continue
            queue = self._turns.queues[party]
            first, further = pool.first(party, first_taken), pool.further(party, further_taken)
            before = len(asked)
            if first and not self._are_quick(lanes := self._open(queue.in_turn(), 1)):
                # It is this slow lane's turn. The owner's other lanes may still get further slots.
                asked += self._ask(lanes, lambda _: 1)
            budget = further + (first if len(asked) == before else 0)
            if most := min(budget, MAX_LANES - len(asked)):
                lanes = self._open(queue.of("quick"), most, quick=True)
                asked += self._ask(lanes, _Even(budget, len(lanes)))
            taken = sum(share for _, share in asked[before:])
            first_taken += min(first, taken)
            further_taken += max(0, taken - first)
            if len(asked) >= MAX_LANES:
                break
        return asked

    def _are_quick(self, lanes: Iterable[tuple[UUID, int]]) -> bool:
        return all(self._turns.places[webhook_id].taken_for_quick for webhook_id, _ in lanes)

    def _open(self, lanes: Iterator[UUID], most: int, *, quick: bool = False) -> list[tuple[UUID, int]]:
        """The next lanes that have room, with how much. `quick`: only those still taken for
        quick."""
        found: list[tuple[UUID, int]] = []
        parked: list[UUID] = []
        slowed: list[UUID] = []
        for webhook_id in lanes:
            place = self._turns.places[webhook_id]
            if quick and not place.taken_for_quick:
                slowed.append(webhook_id)
            elif (left := _left(place)) <= 0:
                parked.append(webhook_id)
            elif (room := self._room(webhook_id)) > 0:
                found.append((webhook_id, min(left, room)))
                if len(found) == most:
                    break
        for webhook_id in parked:
            self._turns.park(webhook_id)
        for webhook_id in slowed:
            self._turns.changed(webhook_id)
        return found

    def _ask(self, lanes: Iterable[tuple[UUID, int]], share: Callable[[int], int]) -> list[tuple[UUID, int]]:
        """Asks no more of an origin than it has room for, in all lanes of this plan together."""
        asked: list[tuple[UUID, int]] = []
        for webhook_id, room in lanes:
            place = self._turns.places[webhook_id]
            left = _left(place) - self._taken.get(place.origin, 0)
            if left <= 0:
                self.cut = True
            elif (most := share(min(room, left))) > 0:
                self._taken[place.origin] = self._taken.get(place.origin, 0) + most
                asked.append((webhook_id, most))
        return asked


def _left(place: Place) -> int:
    """How many more requests the webhook's origin has room for."""
    return place.origin.main_free or place.origin.room(place.there, quick=place.taken_for_quick)


class _Even:
    """Divides a budget between lanes. The part that one lane has no room for goes to the next."""

    def __init__(self, budget: int, lanes: int) -> None:
        self._budget = budget
        self._lanes = lanes

    def __call__(self, room: int) -> int:
        share = min(room, math.ceil(self._budget / self._lanes))
        self._budget -= share
        self._lanes -= 1
        return share
