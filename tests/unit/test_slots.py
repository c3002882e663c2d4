"""A relay's slots: never more in flight than there are, whoever fills them."""

import asyncio
from uuid import UUID

import pytest

from relay.slots import NOTHING, Slots

RELAY, ONE, TWO = (UUID(int=number) for number in range(1, 4))


def make(concurrency: int = 8, per_webhook: int = 4) -> Slots:
    def crashed(_: UUID, error: BaseException) -> None:
        raise error

    return Slots(concurrency, per_webhook, on_free=lambda _: None, on_crash=crashed)


async def fill(slots: Slots, webhook_id: UUID, count: int) -> asyncio.Event:
    end = asyncio.Event()

    async def sending() -> None:
        await end.wait()

    for _ in range(count):
        slots.start(webhook_id, sending())
    return end


async def test_what_is_offered_is_free_for_nobody_else_until_it_is_closed() -> None:
    slots = make()
    await fill(slots, ONE, 1)
    offer = slots.offer(RELAY, [])
    assert (offer.most, offer.per_webhook, offer.crowded) == (7, 2, ())
    assert (slots.free, slots.room(ONE), slots.room(TWO)) == (0, 1, 2)
    slots.close()
    assert (slots.free, slots.room(ONE), slots.room(TWO)) == (7, 3, 4)


async def test_what_a_claim_may_fill_is_not_offered() -> None:
    slots = make()
    with slots.claiming([(ONE, 2), (TWO, 3)], 8):
        offer = slots.offer(RELAY, [])
        assert offer.most == 3
        assert set(offer.crowded) == {ONE, TWO}
    slots.close()
    with slots.claiming([(ONE, 4), (TWO, 4)], 8):
        assert slots.offer(RELAY, []) is NOTHING


async def test_a_lane_that_is_half_full_or_has_a_backlog_is_crowded() -> None:
    slots = make()
    await fill(slots, ONE, 3)
    offer = slots.offer(RELAY, [TWO])
    assert set(offer.crowded) == {ONE, TWO}
    # Nothing is kept free for them, as nothing is leased there.
    assert (slots.room(ONE), slots.room(TWO)) == (1, 4)


async def test_what_a_backlog_has_room_for_is_not_offered() -> None:
    slots = make()
    assert slots.offer(RELAY, [ONE]).most == 4
    slots.close()
    assert slots.offer(RELAY, [ONE, TWO]) is NOTHING
    assert not slots.offered
    await fill(slots, ONE, 4)
    assert slots.offer(RELAY, [ONE]).most == 4
    slots.close()
    # One that has more than it may makes no slot for others.
    await fill(slots, ONE, 1)
    assert slots.offer(RELAY, [ONE]).most == 3


async def test_one_slot_a_webhook_is_offered_to_those_that_use_none() -> None:
    slots = make(per_webhook=1)
    await fill(slots, ONE, 1)
    offer = slots.offer(RELAY, [])
    assert (offer.per_webhook, offer.crowded) == (1, (ONE,))
    assert slots.room(TWO) == 0


async def test_who_stops_waits_for_what_fan_out_may_still_bring() -> None:
    slots = make()
    slots.offer(RELAY, [])
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
        slots.offer(RELAY, [])
    await slots.finish(0)
    assert slots.in_flight == 0
