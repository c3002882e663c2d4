"""A relay's slots: never more requests in flight than there are slots."""

import asyncio
from uuid import UUID

import pytest

from relay.board import Board
from relay.claim.slots import MAX_CROWDED, NOTHING, Slots
from relay.rules.parked import NAMED
from relay.rules.shares import SLOW_SECONDS, Place, Places
from relay.rules.turns import Turns

RELAY, ONE, TWO = (UUID(int=number) for number in range(1, 4))


def waiting(*webhook_ids: UUID) -> Turns:
    turns = Turns()
    turns.add(webhook_ids)
    return turns


class Request:
    def cancel(self) -> None:
        raise AssertionError


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that stands still until its one value is changed."""
    now = [1000.0]
    monkeypatch.setattr("relay.claim.slots.time.monotonic", lambda: now[0])
    return now


def make(concurrency: int = 10, per_webhook: int = 4) -> Slots:
    """Eight slots in the main part, and two in the reserve."""
    return Slots(concurrency, per_webhook, Board())


async def fill(slots: Slots, webhook_id: UUID, count: int) -> asyncio.Event:
    end = asyncio.Event()
    for _ in range(count):
        task = asyncio.create_task(end.wait())
        slots.hold(task, webhook_id, None)
        task.add_done_callback(slots.release)
    return end


async def test_what_is_offered_is_free_for_nobody_else_until_it_is_closed() -> None:
    slots = make()
    await fill(slots, ONE, 1)
    offer = slots.offer(RELAY, waiting())
    assert (offer.most, offer.per_webhook, offer.crowded) == (7, 2, ())
    assert (slots.free, slots.room(ONE), slots.room(TWO)) == (0, 1, 2)
    slots.close()
    assert (slots.free, slots.room(ONE), slots.room(TWO)) == (7, 3, 4)


async def test_what_a_claim_may_fill_is_not_offered() -> None:
    slots = make()
    with slots.claiming([(ONE, 2), (TWO, 3)], 8):
        offer = slots.offer(RELAY, waiting())
        assert offer.most == 3
        assert set(offer.crowded) == {ONE, TWO}
    slots.close()
    with slots.claiming([(ONE, 4), (TWO, 4)], 8):
        assert slots.offer(RELAY, waiting()) is NOTHING


async def test_a_lane_that_is_half_full_or_has_a_backlog_is_crowded() -> None:
    slots = make()
    await fill(slots, ONE, 3)
    offer = slots.offer(RELAY, waiting(TWO))
    assert set(offer.crowded) == {ONE, TWO}
    # No slot is kept for them, because fan-out leases nothing to them.
    assert (slots.room(ONE), slots.room(TWO)) == (1, 4)


async def test_what_a_backlog_has_room_for_is_not_offered() -> None:
    slots = make()
    assert slots.offer(RELAY, waiting(ONE)).most == 4
    slots.close()
    assert slots.offer(RELAY, waiting(ONE, TWO)) is NOTHING
    assert not slots.offered
    await fill(slots, ONE, 4)
    assert slots.offer(RELAY, waiting(ONE)).most == 4
    slots.close()
    # A webhook beyond its limit frees no slot for others.
    await fill(slots, ONE, 1)
    assert slots.offer(RELAY, waiting(ONE)).most == 3


async def test_one_slot_a_webhook_is_offered_to_those_that_use_none() -> None:
    slots = make(per_webhook=1)
    await fill(slots, ONE, 1)
    offer = slots.offer(RELAY, waiting())
    assert (offer.per_webhook, offer.crowded) == (1, (ONE,))
    assert slots.room(TWO) == 0


async def test_who_stops_waits_for_what_fan_out_may_still_bring() -> None:
    slots = make()
    slots.offer(RELAY, waiting())
    finishing = asyncio.create_task(slots.finish(60))
    await asyncio.sleep(0)
    end = await fill(slots, ONE, 1)
    slots.close()
    await asyncio.sleep(0)
    assert not finishing.done()
    end.set()
    await finishing
    assert slots.in_flight == 0


@pytest.mark.parametrize("offered", [False, True])
async def test_the_grace_bounds_how_long_who_stops_waits(offered: bool) -> None:
    slots = make()
    await fill(slots, ONE, 2)
    if offered:
        slots.offer(RELAY, waiting())
    await slots.finish(0)
    assert slots.in_flight == 0


def hold(slots: Slots, place: Place, count: int = 1, *, webhook: int = 1, reserve: bool = False) -> list[Request]:
    requests = [Request() for _ in range(count)]
    for request in requests:
        slots.hold(request, UUID(int=webhook), None, place, reserve=reserve)
    return requests


def is_quick(place: Place) -> bool:
    return bool(place.quick)


async def test_a_webhook_is_quick_once_it_has_answered_soon_and_until_a_request_is_too_old(clock: list[float]) -> None:
    slots, place = make(), Places(4).of(ONE, "http://127.0.0.1/")
    first, second = hold(slots, place, 2)
    assert not is_quick(place)
    assert slots.release(first), "it has become quick"
    assert is_quick(place)
    clock[0] += SLOW_SECONDS
    slots.age()
    assert not is_quick(place)
    (third,) = hold(slots, place)
    assert not slots.release(third)
    assert not is_quick(place), "one is still too old"
    assert not slots.release(second)
    assert not is_quick(place), "the last answer came late"
    (fourth,) = hold(slots, place)
    assert slots.release(fourth)
    # Whether or not the slots were looked at meanwhile.
    (fifth,) = hold(slots, place)
    clock[0] += SLOW_SECONDS
    assert not slots.release(fifth)
    assert not is_quick(place)
    assert slots.in_flight == 0


def taken(place: Place) -> bool:
    return place.taken_for_quick


async def test_an_owner_is_quick_as_the_requests_in_the_reserve_are(clock: list[float]) -> None:
    slots, places = make(40), Places(64)
    known, unknown = (places.of(ONE, f"http://127.0.0.1:{port}/") for port in (1, 2))
    (main,) = hold(slots, known)
    slots.release(main)
    assert not taken(unknown), "only what is in the reserve counts"
    first, second = hold(slots, known, 2, reserve=True)
    slots.release(first)
    assert taken(unknown)
    clock[0] += SLOW_SECONDS
    slots.age()
    assert not taken(unknown)
    (third,) = hold(slots, unknown, reserve=True)
    slots.release(third)
    assert (known.owner.quick, known.quick, unknown.quick) == (False, False, True), "another is too old still"
    slots.release(second)
    (fourth,) = hold(slots, unknown, reserve=True)
    slots.release(fourth)
    assert (known.owner.quick, known.taken_for_quick, known.owner.slow) == (True, False, 0)


async def test_the_reserve_is_offered_in_part_when_the_main_part_is_in_flight(clock: list[float]) -> None:
    slots, places = make(40), Places(64)
    hog = places.of(ONE, "http://127.0.0.1:1/")
    requests = hold(slots, hog, 29)
    with slots.claiming([(TWO, 1)], 1):
        assert slots.offer(RELAY, waiting()) is NOTHING, "what is merely promised may be free again at once"
    requests += hold(slots, hog)
    assert set(slots.offer(RELAY, waiting()).crowded) == {UUID(int=1), ONE}, "a webhook that is full; and it is alone"
    slots.close()

    honest, third = places.of(TWO, "http://127.0.0.1:2/"), places.of(RELAY, "http://127.0.0.1:3/")
    assert slots.admits(honest, reserve=True)
    hold(slots, honest, webhook=9, reserve=True)
    backlog = waiting(*(UUID(int=number) for number in range(100, 100 + NAMED + 1)))
    backlog.place(backlog.unplaced(100), lambda _: third)
    offer = slots.offer(RELAY, backlog)
    assert (offer.most, offer.reserve) == (3, True)
    # The webhook that is full, and the owner with so many waiting lanes.
    assert set(offer.crowded) == {UUID(int=1), RELAY}
    assert (slots.free, slots.promised) == (0, 0)
    assert slots.close() is offer

    assert not slots.admits(honest, reserve=True), "it is not known to be quick"
    honest.quick = True
    assert slots.admits(honest, reserve=True)
    slots.release(requests[0])
    assert slots.free == 1


async def test_nothing_is_admitted_to_an_origin_that_is_full() -> None:
    slots, places = make(40, 4), Places(4)
    one, other = places.of(ONE, "http://127.0.0.1:1/"), places.of(TWO, "http://127.0.0.1:1/")
    requests = hold(slots, one, 12)
    assert not slots.admits(one, reserve=False)
    assert slots.admits(other, reserve=False)
    slots.release(requests[0])
    assert slots.admits(one, reserve=False)


async def test_nothing_is_offered_where_too_many_would_have_to_be_named() -> None:
    slots, places = make(4000), Places(64)
    hold(slots, places.of(ONE, "http://127.0.0.1:1/"), 3000)
    backlog = waiting(*(UUID(int=number) for number in range(100, 100 + MAX_CROWDED + 1)))
    backlog.place(backlog.unplaced(2 * MAX_CROWDED), lambda owner: places.of(owner, "http://127.0.0.1:1/"))
    assert slots.offer(RELAY, backlog) is NOTHING


async def test_what_a_lane_that_was_parked_has_room_for_by_now_is_not_offered() -> None:
    slots, places = make(40, 4), Places(4)
    full = places.of(ONE, "http://127.0.0.1:1/")
    lane = UUID(int=7)
    requests = hold(slots, full, 12, webhook=8)
    backlog = waiting(lane)
    backlog.place([lane], lambda _: full)
    assert not backlog.plan(slots.free, slots.pool, slots.room).lanes
    offer = slots.offer(RELAY, backlog)
    assert (offer.most, lane in offer.crowded) == (18, True)
    slots.close()
    slots.release(requests[0])
    offer = slots.offer(RELAY, backlog)
    assert (offer.most, lane in offer.crowded) == (19 - 4, True)
