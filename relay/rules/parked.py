"""Queues of lanes, and the parked lanes, which wait until their origin has room for their owner."""

from collections.abc import Callable, Iterable, Iterator
from heapq import merge
from itertools import islice
from operator import itemgetter
from typing import Literal, TypeAlias
from uuid import UUID

from relay.rules.shares import Party, Place, SlotPool, level

Kind: TypeAlias = Literal["all", "quick"]
# If an owner has more lanes than this, fan-out gets the owner's id instead of the lanes'.
NAMED = 4


class Queue:
    """An owner's lanes, each with the number of its turn. They are kept by whether their webhooks
    are quick: True, False, or None while that is not known."""

    __slots__ = ("lanes", "owner")

    def __init__(self, owner: Party) -> None:
        self.owner = owner
        self.lanes: dict[bool | None, dict[UUID, int]] = {True: {}, None: {}, False: {}}

    def __len__(self) -> int:
        return len(self.lanes[True]) + len(self.lanes[None]) + len(self.lanes[False])

    def __bool__(self) -> bool:
        return any(self.lanes.values())

    def __contains__(self, webhook_id: UUID) -> bool:
        return any(webhook_id in lanes for lanes in self.lanes.values())

    def in_turn(self) -> Iterator[UUID]:
        return self._in_turn(self.lanes.values())

    def of(self, kind: Kind) -> Iterator[UUID]:
        """All lanes in turn, or only those that are taken for quick."""
        if kind == "all":
            return self.in_turn()
        return self._in_turn([self.lanes[True], self.lanes[None]] if self.owner.quick else [self.lanes[True]])

    def _in_turn(self, kinds: Iterable[dict[UUID, int]]) -> Iterator[UUID]:
        found = [lanes for lanes in kinds if lanes]
        if len(found) == 1:
            return iter(found[0])
        return (webhook_id for webhook_id, _ in merge(*(lanes.items() for lanes in found), key=itemgetter(1)))

    def add(self, webhook_id: UUID, place: Place, number: int) -> None:
        self.lanes[place.quick][webhook_id] = number

    def remove(self, webhook_id: UUID) -> int:
        """Returns the number of its turn."""
        for lanes in self.lanes.values():
            if (number := lanes.pop(webhook_id, None)) is not None:
                return number
        raise KeyError(webhook_id)

    def named(self) -> Iterator[UUID]:
        """The ids of the lanes. If there are many, the id of their owner instead."""
        return self.in_turn() if len(self) <= NAMED else iter((self.owner.owner_id,))


class Parked:
    """The parked lanes, by origin, and for each origin by owner."""

    def __init__(self) -> None:
        self._origins: dict[SlotPool, dict[Party, Queue]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, webhook_id: UUID, place: Place, number: int) -> None:
        parties = self._origins.setdefault(place.origin, {})
        if (queue := parties.get(place.there)) is None:
            queue = parties[place.there] = Queue(place.owner)
        queue.add(webhook_id, place, number)
        self._count += 1

    def changed(self, webhook_id: UUID, place: Place) -> None:
        """Whether the webhook is quick has changed."""
        queue = self._origins.get(place.origin, {}).get(place.there)
        if queue is not None and webhook_id in queue:
            queue.add(webhook_id, place, queue.remove(webhook_id))

    def named(self) -> set[UUID]:
        return {named for parties in self._origins.values() for queue in parties.values() for named in queue.named()}

    def leave(self, kind_of: Callable[[Party], Kind | None], room: Callable[[UUID], int]) -> list[tuple[UUID, int]]:
        """Takes out as many lanes as their origins have room for now, and returns them with the
        numbers of their turns. Owners with the fewest requests in flight at the origin come first.
        `kind_of`: for which of an owner's lanes the relay has slots. A lane whose webhook has no
        room stays."""
        left: list[tuple[UUID, int]] = []
        for origin, parties in list(self._origins.items()):
            kinds = {party: kind for party, queue in parties.items() if (kind := kind_of(queue.owner)) is not None}
            if (free := origin.main_free) > 0:
                wants = [(party, len(_open(parties[party].of(kind), free, room))) for party, kind in kinds.items()]
                for party, share in level(free, wants):
                    left += _leave(parties[party], parties[party].of(kinds[party]), share, room)
            else:
                for party, kind in kinds.items():
                    if not origin.alone(party):
                        left += _leave(parties[party], parties[party].of(kind), origin.first(party), room)
                        left += _leave(parties[party], parties[party].of("quick"), origin.further(party), room)
            for party in [party for party in kinds if not parties[party]]:
                del parties[party]
            if not parties:
                del self._origins[origin]
        self._count -= len(left)
        return left


def _open(lanes: Iterator[UUID], most: int, room: Callable[[UUID], int]) -> list[UUID]:
    return list(islice((webhook_id for webhook_id in lanes if room(webhook_id) > 0), most))


def _leave(queue: Queue, lanes: Iterator[UUID], most: int, room: Callable[[UUID], int]) -> list[tuple[UUID, int]]:
    return [(webhook_id, queue.remove(webhook_id)) for webhook_id in _open(lanes, most, room)]
