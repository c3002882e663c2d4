"""How slots are shared: a relay's between the owners of webhooks, and an origin's between the
owners that send to it.

Any owner may use the main part of a pool, which is three quarters of a relay's slots. A request
that was sent cannot be taken back. So the rest, the reserve, is kept for owners who find the main
part full because others hold it:

- First slots are two thirds of the reserve. An owner may have one. So everybody gets one, whatever
  the others do, as long as there are fewer owners than first slots.
- Further slots are the rest. An owner gets the k-th only while k tenths of them are free, and only
  for a webhook that is known to be quick, or taken for quick.
- An owner who is alone in the pool gets nothing of the reserve.
"""

import heapq
from collections.abc import Hashable, Iterable
from typing import Literal, TypeAlias
from uuid import UUID
from weakref import WeakValueDictionary

from relay.rules.endpoint import parse

# A request that is older than this is slow. Its webhook is slow, too, until one ends sooner.
SLOW_SECONDS = 2.0
_NOBODY = UUID(int=0)
# The reserve is a quarter of a relay's slots.
_QUARTER = 4

Part: TypeAlias = Literal["main", "first", "further"]


class Party:
    """An owner's use of a pool. Of the slots in flight, `first` (0 or 1) and `further` belong to
    the reserve. `slow` counts those in the reserve that are slow. `quick`: the last request that
    ended in the reserve was quick, and none that is there is slow."""

    __slots__ = ("__weakref__", "first", "further", "in_flight", "owner_id", "quick", "slow")

    def __init__(self, owner_id: UUID) -> None:
        self.owner_id = owner_id
        self.in_flight = 0
        self.first = 0
        self.further = 0
        self.quick = False
        self.slow = 0

    @property
    def in_main(self) -> int:
        return self.in_flight - self.first - self.further


class SlotPool:
    """A pool of slots, with a main part and a reserve."""

    __slots__ = ("__weakref__", "_active", "_step", "first_free", "further_free", "main", "main_free")

    def __init__(self, main: int, reserve: int) -> None:
        self.main = main
        self.main_free = main
        self.first_free = -(-2 * reserve // 3)
        self.further_free = reserve - self.first_free
        self._step = max(1, self.further_free // 10)
        # How many owners have something in flight.
        self._active = 0

    @classmethod
    def of_relay(cls, slots: int) -> "SlotPool":
        return cls(slots - slots // _QUARTER, slots // _QUARTER)

    @classmethod
    def of_origin(cls, per_webhook: int) -> "SlotPool":
        """A pool three times as large as one webhook's limit. If one or two webhooks of an owner
        hang, the owner's others still have room."""
        return cls(3 * per_webhook, 3 * per_webhook // 2)

    @property
    def reserve_free(self) -> int:
        return self.first_free + self.further_free

    def alone(self, party: Party) -> bool:
        """Whether no other owner holds a slot."""
        return self._active == (party.in_flight > 0)

    def first(self, party: Party, taken: int = 0) -> int:
        """How many first slots of the reserve the owner may take, if `taken` of the free ones are
        given to others."""
        return int(self.first_free > taken and not party.first)

    def further(self, party: Party, taken: int = 0) -> int:
        """How many further slots of the reserve the owner may take for quick webhooks, if `taken`
        of the free ones are given to others."""
        # The i-th more is the owner's (further + i)-th. It may be taken while free - i + 1 are
        # free.
        free = self.further_free - taken
        return max(0, (free + 1 - self._step * party.further) // (self._step + 1))

    def admits(self, party: Party, *, quick: bool) -> bool:
        """Whether the owner may have one more slot of the reserve."""
        return self.first(party) > 0 or (quick and self.further(party) > 0)

    def room(self, party: Party, *, quick: bool) -> int:
        """How many slots the owner may ask for: of the main part if it has room, else of the
        reserve."""
        if self.main_free > 0:
            return self.main_free
        if self.alone(party):
            return 0
        return self.first(party) + (self.further(party) if quick else 0)

    def hold(self, party: Party, reserve: bool) -> Part:
        """Takes a slot of the reserve or of the main part."""
        if not party.in_flight:
            self._active += 1
        party.in_flight += 1
        if not reserve:
            self.main_free -= 1
            return "main"
        if self.first_free > 0 and not party.first:
            self.first_free -= 1
            party.first = 1
            return "first"
        self.further_free -= 1
        party.further += 1
        return "further"

    def release(self, party: Party, part: Part) -> None:
        party.in_flight -= 1
        if not party.in_flight:
            self._active -= 1
        if part == "main":
            self.main_free += 1
        elif part == "first":
            self.first_free += 1
            party.first = 0
        else:
            self.further_free += 1
            party.further -= 1


class Place:
    """The counts that a webhook's requests belong to: those of its `owner` in the relay's pool, and
    those of the owner `there`, in the pool of the webhook's origin.

    `slow` counts the requests in flight that are slow. `quick`: the last request ended within
    SLOW_SECONDS, and none in flight is slow. It is None while nothing is known; then the webhook is
    taken for quick if its owner's requests in the reserve are."""

    __slots__ = ("origin", "owner", "quick", "slow", "there")

    def __init__(self, owner: Party, origin: SlotPool, there: Party) -> None:
        self.owner = owner
        self.origin = origin
        self.there = there
        self.quick: bool | None = None
        self.slow = 0

    @property
    def taken_for_quick(self) -> bool:
        return self.owner.quick if self.quick is None else self.quick


# The place of a webhook that is gone. Nothing is sent there.
NOWHERE = Place(Party(_NOBODY), SlotPool(0, 0), Party(_NOBODY))


class Places:
    """The places of webhooks. An owner and an origin stay here as long as a place refers to them,
    because it is cached or has requests in flight."""

    def __init__(self, per_webhook: int) -> None:
        self._per_webhook = per_webhook
        self._owners: WeakValueDictionary[UUID, Party] = WeakValueDictionary()
        self._origins: WeakValueDictionary[Hashable, SlotPool] = WeakValueDictionary()
        self._there: WeakValueDictionary[tuple[UUID, Hashable], Party] = WeakValueDictionary()

    def of(self, owner_id: UUID, url: str) -> Place:
        """A new place, for a webhook that has had no request yet, or whose URL has changed."""
        origin = _origin(url)
        if (owner := self._owners.get(owner_id)) is None:
            owner = self._owners[owner_id] = Party(owner_id)
        if (pool := self._origins.get(origin)) is None:
            pool = self._origins[origin] = SlotPool.of_origin(self._per_webhook)
        if (there := self._there.get((owner_id, origin))) is None:
            there = self._there[owner_id, origin] = Party(owner_id)
        return Place(owner, pool, there)


def level(slots: int, wants: Iterable[tuple[Party, int]]) -> list[tuple[Party, int]]:
    """Divides slots of the main part between owners. `wants` has how many each can use. Every slot
    goes to the owner who has the fewest by then, and to the first of several such owners. Returns
    the owners who get any, with how many."""
    heap = [(party.in_main, order, 0, most, party) for order, (party, most) in enumerate(wants) if most > 0]
    heapq.heapify(heap)
    shares: list[tuple[int, Party, int]] = []
    while heap and slots > 0:
        has, order, share, most, party = heap[0]
        slots -= 1
        if share + 1 < most:
            heapq.heapreplace(heap, (has + 1, order, share + 1, most, party))
        else:
            heapq.heappop(heap)
            shares.append((order, party, most))
    shares += [(order, party, share) for _, order, share, _, party in heap if share]
    return [(party, share) for _, party, share in sorted(shares, key=lambda share: share[0])]


def _origin(url: str) -> Hashable:
    try:
        return parse(url).origin
    except ValueError:
        # The URL is not valid, so nothing will be sent there.
        return url
