"""The lanes that a claim asks for, by owner. None is forgotten."""

from collections import Counter
from collections.abc import Iterable
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from relay.rules.parked import NAMED
from relay.rules.shares import Part, Place, Places, SlotPool
from relay.rules.turns import LEAST_SHARE, MAX_LANES, NO_CLAIM, Turns

A, B, C = (UUID(int=number) for number in range(1, 4))


class Lanes:
    """Turns with lanes of owners. Each owner has an origin of its own, unless one is given."""

    def __init__(self, per_webhook: int = 64) -> None:
        self.turns = Turns()
        self.places = Places(per_webhook)
        self.known: dict[UUID, Place] = {}

    def add(self, owner: int, lanes: Iterable[int], *, origin: int | None = None, quick: bool = False) -> list[UUID]:
        webhook_ids = [UUID(int=owner * 1000 + lane) for lane in lanes]
        for webhook_id in webhook_ids:
            if webhook_id not in self.known:
                url = f"http://127.0.0.1:{origin or owner}/"
                self.known[webhook_id] = self.places.of(UUID(int=owner), url)
                self.known[webhook_id].quick = quick or None
        self.turns.add(webhook_ids)
        self.turns.place(webhook_ids, self.known.get)
        return webhook_ids


def test_an_owners_lanes_are_taken_in_turn_and_only_while_they_wait() -> None:
    lanes, pool = Lanes(), SlotPool.of_relay(100)
    one, two, three = lanes.add(1, [1, 2, 3])
    lanes.add(1, [1])
    plan = lanes.turns.plan(8, pool, lambda lane: 5 if lane != three else 0)
    assert plan.lanes == ((one, 4), (two, 4))
    assert (plan.most, plan.reserve, plan.more) == (8, False, False)
    lanes.add(1, [1])
    assert lanes.turns.plan(5, pool, lambda _: 5).lanes == ((three, 4), (one, 4))
    assert lanes.turns.plan(5, pool, lambda _: 5) is NO_CLAIM


def test_a_lane_without_room_keeps_its_turn() -> None:
    lanes, pool = Lanes(), SlotPool.of_relay(100)
    one, two = lanes.add(1, [1, 2])
    assert lanes.turns.plan(5, pool, lambda lane: 0 if lane == one else 1).lanes == ((two, 1),)
    assert lanes.turns.plan(5, pool, lambda _: 1).lanes == ((one, 1),)


def test_a_claim_asks_an_owner_who_is_alone_for_more_than_there_are_slots() -> None:
    lanes, pool = Lanes(), SlotPool.of_relay(352)
    lanes.add(1, range(300))
    plan = lanes.turns.plan(264, pool, lambda _: 64)
    assert (len(plan.lanes), plan.most) == (48, 264), "as many as its origin has room for"
    assert plan.more
    many = Lanes()
    for number in range(300):
        many.add(1, [number], origin=number + 1)
    plan = many.turns.plan(264, pool, lambda _: 64)
    assert {share for _, share in plan.lanes} == {LEAST_SHARE}
    assert (len(plan.lanes), plan.most, plan.more) == (MAX_LANES, 264, False)


def test_several_owners_get_up_to_who_has_most_in_flight() -> None:
    lanes, pool = Lanes(), SlotPool.of_relay(352)
    first = lanes.add(1, range(8))
    for _ in range(60):
        pool.hold(lanes.known[first[0]].owner, reserve=False)
    lanes.add(2, range(8))
    lanes.add(3, [1])
    plan = lanes.turns.plan(40, pool, lambda _: 2)
    by_owner: Counter[int] = Counter()
    for webhook_id, share in plan.lanes:
        by_owner[webhook_id.int // 1000] += share
    assert by_owner == {2: 16, 3: 2, 1: 16}, "as many as they have room for"
    assert plan.more is False or len(lanes.turns) == 0


def test_the_reserve_is_for_owners_without_any_of_it_and_for_quick_webhooks() -> None:
    lanes, pool = Lanes(), SlotPool.of_relay(352)
    hog = lanes.add(1, range(20))
    for _ in range(pool.main):
        pool.hold(lanes.known[hog[0]].owner, reserve=False)
    assert lanes.turns.plan(0, pool, lambda _: 9) is NO_CLAIM, "it is alone"
    lanes.add(2, range(20))
    lanes.add(3, range(20), quick=True)
    lanes.add(4, range(19))
    lanes.add(4, [19], quick=True)
    plan = lanes.turns.plan(0, pool, lambda _: 9)
    by_owner: Counter[int] = Counter()
    for webhook_id, share in plan.lanes:
        by_owner[webhook_id.int // 1000] += share
    assert (by_owner[2], by_owner[3], by_owner[4] > 1) == (1, 1 + 10, True)
    assert (plan.most, plan.reserve, plan.more) == (by_owner.total(), True, True)
    assert UUID(int=4019) in dict(plan.lanes), "whose turn came after all that are not known to be quick"


def test_a_webhook_that_has_become_quick_or_slow_is_taken_for_that() -> None:
    lanes, pool = Lanes(), SlotPool.of_relay(352)
    hog, honest = lanes.add(1, [1]), lanes.add(2, range(5))
    pool.main_free = 0
    for webhook_id in (*hog, *honest):
        owner = lanes.known[webhook_id].owner
        if not owner.in_flight:
            pool.hold(owner, reserve=True)
    assert lanes.turns.plan(0, pool, lambda _: 9) is NO_CLAIM
    lanes.known[honest[3]].quick = True
    lanes.turns.changed(honest[3])
    lanes.known[honest[4]].quick = True
    lanes.turns.changed(honest[4])
    lanes.known[honest[4]].quick = False
    assert [lane for lane, _ in lanes.turns.plan(0, pool, lambda _: 9).lanes] == [honest[3]]
    assert len(lanes.turns) == 5


def test_webhooks_of_which_nothing_is_known_are_taken_for_what_their_owner_has_in_the_reserve() -> None:
    lanes, pool = Lanes(), SlotPool.of_relay(352)
    hog = lanes.places.of(A, "http://127.0.0.1/").owner
    for _ in range(pool.main):
        pool.hold(hog, reserve=False)
    honest = lanes.add(2, range(30))
    owner = lanes.known[honest[0]].owner
    lanes.known[honest[1]].quick = False
    lanes.turns.changed(honest[1])
    assert lanes.turns.plan(0, pool, lambda _: 9).lanes == ((honest[0], 1),)
    pool.hold(owner, reserve=True)
    lanes.add(2, [0])
    assert lanes.turns.plan(0, pool, lambda _: 9) is NO_CLAIM
    owner.quick = True
    assert lanes.turns.plan(0, pool, lambda _: 1).lanes == tuple((webhook_id, 1) for webhook_id in honest[2:12])


def test_a_lane_is_parked_while_its_origin_is_full_and_taken_as_soon_as_it_is_not() -> None:
    lanes, pool = Lanes(per_webhook=4), SlotPool.of_relay(352)
    full = lanes.add(1, range(50), origin=7)
    other = lanes.add(1, [99], origin=8)
    place = lanes.known[full[0]]
    for _ in range(12):
        place.origin.hold(place.there, reserve=False)
    plan = lanes.turns.plan(100, pool, lambda _: 4)
    assert [lane for lane, _ in plan.lanes] == other
    assert (lanes.turns.unparked, len(lanes.turns)) == (0, 50)
    assert lanes.turns.crowded_at_origins() == {UUID(int=1)}
    assert lanes.turns.plan(100, pool, lambda _: 4) is NO_CLAIM
    # Another owner gets a slot of the origin's reserve.
    (theirs,) = lanes.add(2, [1], origin=7)
    assert [lane for lane, _ in lanes.turns.plan(100, pool, lambda _: 4).lanes] == [theirs]
    place.origin.release(place.there, "main")
    assert lanes.turns.plan(100, pool, lambda _: 4).lanes == ((full[0], 1),)


def test_few_lanes_are_named_one_by_one_and_many_by_their_owner() -> None:
    lanes = Lanes()
    few, _ = lanes.add(1, range(NAMED)), lanes.add(2, range(NAMED + 1))
    assert lanes.turns.crowded() == {*few, UUID(int=2)}
    assert set(lanes.turns) == set(lanes.known)


LANES = st.lists(
    st.tuples(st.integers(1, 4), st.integers(0, 9), st.integers(1, 3), st.booleans(), st.integers(1, 12)),
    min_size=1,
    max_size=30,
    unique_by=lambda lane: lane[:2],
)


@given(found=LANES, slots=st.integers(1, 40), per_webhook=st.integers(1, 5), ends=st.randoms())
def test_whatever_is_due_is_sent_in_the_end_and_no_bound_is_passed_on_the_way(
    found: list[tuple[int, int, int, bool, int]], slots: int, per_webhook: int, ends: object
) -> None:
    """A small model of a relay: it looks again only if a plan says so, and when a request has
    ended."""
    choose = ends.choice  # type: ignore[attr-defined]
    lanes, pool = Lanes(per_webhook), SlotPool.of_relay(slots)
    due: dict[UUID, int] = {}
    for owner, lane, origin, quick, count in found:
        (webhook_id,) = lanes.add(owner, [lane], origin=origin, quick=quick)
        due[webhook_id] = count
    in_flight: list[tuple[UUID, Part, Part]] = []
    of_lane: Counter[UUID] = Counter()

    def look() -> None:
        while True:
            plan = lanes.turns.plan(pool.main_free, pool, lambda webhook_id: per_webhook - of_lane[webhook_id])
            left = plan.most
            again = []
            for webhook_id, share in plan.lanes:
                place = lanes.known[webhook_id]
                got = min(share, due[webhook_id], left)
                left -= got
                due[webhook_id] -= got
                for _ in range(got):
                    assert place.origin.room(place.there, quick=place.taken_for_quick) > 0
                    assert not plan.reserve or pool.admits(place.owner, quick=place.taken_for_quick)
                    there = place.origin.hold(place.there, reserve=place.origin.main_free <= 0)
                    in_flight.append((webhook_id, pool.hold(place.owner, reserve=plan.reserve), there))
                    of_lane[webhook_id] += 1
                if got == share or left == 0:
                    again.append(webhook_id)
                assert of_lane[webhook_id] <= per_webhook
            assert pool.main_free >= 0
            lanes.turns.add(again)
            lanes.turns.place(again, lanes.known.get)
            if not plan.lanes or not (plan.more and len(lanes.turns)):
                return

    def nobody_waits_for_what_is_free() -> None:
        for webhook_id, count in due.items():
            place = lanes.known[webhook_id]
            if (
                count
                and of_lane[webhook_id] < per_webhook
                and place.origin.room(place.there, quick=place.taken_for_quick)
            ):
                assert pool.room(place.owner, quick=place.taken_for_quick) == 0

    look()
    nobody_waits_for_what_is_free()
    while in_flight:
        webhook_id, part, there = in_flight.pop(in_flight.index(choose(in_flight)))
        place = lanes.known[webhook_id]
        pool.release(place.owner, part)
        place.origin.release(place.there, there)
        of_lane[webhook_id] -= 1
        look()
        nobody_waits_for_what_is_free()
    assert sum(due.values()) == 0
