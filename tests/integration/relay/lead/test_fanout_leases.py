"""Fan-out leases deliveries to the leader at once: as many as it has slots for, and only where a
claim would have nothing to check."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from aiohttp import web

from relay.claim.slots import NOTHING, Offer
from relay.lead.batch import Batch
from relay.lead.fanout import FanOut
from relay.record.result import Lease
from relay.send.delivery import SPARE_SECONDS
from relay.transport import HttpTransport
from service.platform.db import Pool
from service.platform.ids import new_id
from service.platform.queries import load
from service.platform.settings import Settings
from tests.support.database import Connection
from tests.support.receivers.receiver import Arrival, Receiver, accept
from tests.support.relay.sending import Sending, claim_one, register
from tests.support.rows import NOWHERE, add_user, add_webhook, write_event
from tests.support.waiting import until

pytestmark = pytest.mark.usefixtures("either_way")

CLAIM = load("claim")


async def fan_out(
    pool: Pool, relay_id: UUID, *, most: int = 100, per_webhook: int = 100, crowded: Sequence[UUID] = ()
) -> Batch:
    return await FanOut(pool).batch(lambda: Offer(relay_id, most, per_webhook, tuple(crowded)))


def lanes_of(batch: Batch) -> Counter[UUID]:
    return Counter(lease.webhook_id for lease in batch.leases)


async def test_no_more_is_leased_than_was_offered_in_all_and_for_each_webhook(
    connection: Connection, settings: Settings, pool: Pool
) -> None:
    relay_id = await register(connection)
    one, two = [await add_webhook(connection, settings, NOWHERE, ["item-created"]) for _ in range(2)]
    events = [await write_event(connection) for _ in range(6)]
    batch = await fan_out(pool, relay_id, most=7, per_webhook=4)
    assert (batch.events, batch.deliveries, len(batch.leases)) == (6, 12, 7)
    assert max(lanes_of(batch).values()) == 4
    # Both webhooks get the oldest events first.
    assert {lease.event_id for lease in batch.leases} == set(events[:4])
    assert set(batch.lanes) == {one.id, two.id}, "both have more that is due"
    assert {webhook_id for webhook_id, _ in batch.versions} == {one.id, two.id}

    rows = await connection.fetch(
        "select webhook_id, position, fence, lost_leases from deliveries"
        " where leased_by = $1 and lease_until between now() + interval '10 seconds' and now() + interval '16 seconds'",
        relay_id,
    )
    assert {tuple(row) for row in rows} == {(each.webhook_id, each.position, each.fence, 0) for each in batch.leases}
    assert len({lease.fence for lease in batch.leases}) == 7
    assert await connection.fetchval("select count(*) from deliveries where leased_by is null") == 5


async def test_no_more_of_a_few_is_leased_than_was_offered(
    connection: Connection, settings: Settings, pool: Pool
) -> None:
    relay_id = await register(connection)
    for _ in range(3):
        await add_webhook(connection, settings, NOWHERE, ["item-created"])
    first, second, third = [await write_event(connection, routed=True) for _ in range(3)]
    batch = await fan_out(pool, relay_id, most=4)
    assert (batch.events, batch.deliveries) == (3, 9)
    assert Counter(lease.event_id for lease in batch.leases) == {first: 3, second: 1}
    assert await connection.fetchval("select count(*) from deliveries where leased_by is null") == 5
    assert third in await connection.fetchval("select array_agg(event_id) from deliveries where leased_by is null")
    assert len(batch.lanes) == 3


async def test_nothing_is_leased_where_nothing_is_offered(
    connection: Connection, settings: Settings, pool: Pool
) -> None:
    webhook = await add_webhook(connection, settings, NOWHERE, ["item-created"])
    await write_event(connection)
    batch = await FanOut(pool).batch(lambda: NOTHING)
    assert (batch.deliveries, batch.leases, batch.lanes) == (1, (), (webhook.id,))
    assert await connection.fetchval("select count(*) from deliveries where leased_by is null") == 1


HINDRANCES = {
    "its breaker is open": "update receiver_health set failures = 10, failing_since = now(), opened_at = now(), probe_at = now() where webhook_id = $1",
    "it is paused": "update receiver_health set pauses = 1, paused_until = now() where webhook_id = $1",
    "it has a rate": "update webhooks set rate_per_second = 100, rate_burst = 100 where id = $1",
    "it asks for order": "update webhooks set ordering = 'item', on_failure = 'block' where id = $1",
    "its owner is suspended": "update users set status = 'suspended' where id = (select owner_id from webhooks where id = $1)",
}


@pytest.mark.parametrize("why", HINDRANCES)
async def test_a_lane_that_a_claim_must_look_at_is_left_to_claims(
    why: str, connection: Connection, settings: Settings, pool: Pool
) -> None:
    relay_id = await register(connection)
    plain, hindered = [
        await add_webhook(connection, settings, NOWHERE, ["item-created"], owner_id=await add_user(connection))
        for _ in range(2)
    ]
    await connection.execute(HINDRANCES[why], hindered.id)
    await write_event(connection, data='{"itemId":"018f0000-0000-7000-8000-000000000001"}')
    batch = await fan_out(pool, relay_id)
    assert lanes_of(batch) == {plain.id: 1}
    assert batch.lanes == (hindered.id,)


async def test_a_crowded_lane_is_left_to_claims(connection: Connection, settings: Settings, pool: Pool) -> None:
    relay_id = await register(connection)
    plain, crowded = [await add_webhook(connection, settings, NOWHERE, ["item-created"]) for _ in range(2)]
    await write_event(connection)
    batch = await fan_out(pool, relay_id, crowded=[crowded.id])
    assert (lanes_of(batch), batch.lanes) == ({plain.id: 1}, (crowded.id,))


async def test_a_relay_that_is_not_listed_is_given_no_lease(
    connection: Connection, settings: Settings, pool: Pool
) -> None:
    # A relay that was stopped may have been removed without knowing it. Its leases would be void,
    # and peers would send the same deliveries.
    relay_id = await register(connection)
    webhook = await add_webhook(connection, settings, NOWHERE, ["item-created"])
    for listed in (False, True):
        await write_event(connection)
        if not listed:
            await connection.execute("delete from relays")
        else:
            await connection.execute(
                "insert into relays (id, version, host, pid) values ($1, '0', 'here', 1)", relay_id
            )
        batch = await fan_out(pool, relay_id)
        assert (len(batch.leases), batch.lanes) == ((1, ()) if listed else (0, (webhook.id,)))
        await connection.execute("update deliveries set leased_by = null, lease_until = null, fence = null")
        claimed = await CLAIM.claim.fetch(
            pool,
            relay_id=new_id(),
            webhook_ids=[webhook.id],
            shares=[9],
            floors=[None],
            most=9,
            suspects=False,
            now=None,
        )
        assert claimed == []


async def test_a_lease_from_fan_out_says_what_one_from_a_claim_does(
    connection: Connection, settings: Settings, pool: Pool
) -> None:
    gone, relay_id = await register(connection), await register(connection)
    webhook = await add_webhook(connection, settings, NOWHERE, ["item-created"])
    await connection.execute(
        'insert into outbox (type, data, traceparent) values (\'item-created\', \'{"itemId":"x","name":"Säge"}\', $1)',
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    )
    (given,) = (await fan_out(pool, gone)).leases
    await connection.execute("delete from relays where id = $1", gone)
    (row,) = await claim_one(pool, relay_id, webhook.id)
    claimed = {name: row[name] for name in given._fields}
    assert claimed.pop("fence") > given.fence
    # The claim found a void lease.
    assert (claimed.pop("lost_leases"), claimed.pop("lost_by")) == (1, gone)
    assert claimed == {name: value for name, value in given._asdict().items() if name in claimed}


async def test_a_claim_begins_with_what_a_lease_is_made_of(connection: Connection) -> None:
    columns = (await connection.prepare(CLAIM.claim.sql)).get_attributes()
    assert tuple(column.name for column in columns)[: len(Lease._fields)] == Lease._fields


async def test_a_row_that_spoils_a_batch_keeps_those_before_it_from_nothing(
    connection: Connection, settings: Settings, pool: Pool
) -> None:
    relay_id = await register(connection)
    await add_webhook(connection, settings, NOWHERE, ["item-created"])
    before = await write_event(connection)
    # No check of the outbox forbids this row, but the log refuses it.
    await connection.execute("alter table events add check (type <> 'item-spoilt')")
    await write_event(connection, "item-spoilt")
    after = await write_event(connection)
    fanout = FanOut(pool)
    leased: list[UUID] = []
    while (batch := await fanout.batch(lambda: Offer(relay_id, 100, 100))).full:
        leased += [lease.event_id for lease in batch.leases]
    leased += [lease.event_id for lease in batch.leases]
    assert leased == [before, after]
    assert await connection.fetchval("select count(*) from set_aside") == 1
    assert {row[0] for row in await connection.fetch("select leased_by from deliveries")} == {relay_id}


async def empty(connection: Connection) -> Any:
    return await connection.fetchval("select not exists (select from outbox) and not exists (select from deliveries)")


async def test_leases_of_a_fan_out_that_was_not_answered_are_given_back(
    connection: Connection, settings: Settings, pool: Pool, receiver: Receiver, sending: Sending
) -> None:
    for number in range(3):
        await add_webhook(connection, settings, f"{receiver.url}/{number}", ["item-created"])
    event_id = await write_event(connection)
    batch = await FanOut(pool).batch(sending.offers.offer)
    assert (len(batch.leases), batch.lanes) == (3, ())
    # The reply is lost. Without a look, the deliveries would wait until their leases run out.
    sending.offers.unconfirmed()
    await until(lambda: empty(connection), "all are delivered")
    assert [arrival.event_id for arrival in receiver.arrivals] == [str(event_id)] * 3
    assert await connection.fetchval("select count(*) from attempts where lost_by is not null") == 0


async def test_leases_that_nobody_knows_of_are_given_back_while_the_leader_looks_without_a_pause(
    connection: Connection, settings: Settings, pool: Pool, receiver: Receiver
) -> None:
    for number in range(12):
        await add_webhook(connection, settings, f"{receiver.url}/{number}", ["item-created"])
    relay_id = await register(connection)
    lost = await write_event(connection)
    assert len((await fan_out(pool, relay_id)).leases) == 12, "and whoever was told of them has forgotten it"
    for _ in range(30):
        await write_event(connection, routed=True)
    transport = HttpTransport(settings.webhook_allowed_networks)
    sending = Sending(pool, settings, relay_id, transport, concurrency=1000, per_webhook=100)
    try:
        await asyncio.sleep(0.1)
        sending.dispatcher.leases.unconfirmed_in(
            [row["id"] for row in await connection.fetch("select id from webhooks")]
        )
        sending.board.room()
        fanout = FanOut(pool)
        for _ in range(20):
            fanout._limit = 1
            batch = await fanout.batch(sending.offers.offer)
            await sending.take(pool, batch)
        assert not sending.dispatcher.leases.has_unconfirmed
        await receiver.wait_for(lambda: sum(arrival.event_id == str(lost) for arrival in receiver.arrivals) == 12)
    finally:
        await sending.stop()
        await transport.close()


async def test_what_is_sent_or_about_to_be_recorded_is_not_taken_for_unknown(
    connection: Connection, settings: Settings, pool: Pool, receiver: Receiver, sending: Sending
) -> None:
    may_answer = asyncio.Event()

    async def late(arrival: Arrival) -> web.StreamResponse:
        await may_answer.wait()
        return await accept(arrival)

    receiver.answer = late
    await add_webhook(connection, settings, receiver.url, ["item-created"])
    for _ in range(2):
        await write_event(connection)
        batch = await FanOut(pool).batch(sending.offers.offer)
        if receiver.arrivals:
            sending.offers.unconfirmed()
        else:
            await sending.take(pool, batch)
            await receiver.wait_for(lambda: len(receiver.arrivals) == 1)
    await receiver.wait_for(lambda: len(receiver.arrivals) == 2)
    may_answer.set()
    await until(lambda: empty(connection), "both are delivered")
    assert len(receiver.arrivals) == 2
    assert await connection.fetchval("select count(*) from attempts where outcome <> 'success'") == 0


async def test_a_lease_that_was_granted_too_late_is_given_back_unused(
    connection: Connection, settings: Settings, pool: Pool, receiver: Receiver, sending: Sending
) -> None:
    await add_webhook(connection, settings, receiver.url, ["item-created"])
    await write_event(connection)
    batch = await FanOut(pool).batch(sending.offers.offer)
    assert len(batch.leases) == 1
    # The server took so long that a peer may treat the lease as void before the request has ended.
    late = batch.moment._replace(asked=batch.moment.asked - SPARE_SECONDS - 1)
    async with asyncio.timeout(10):
        await sending.take(pool, replace(batch, moment=late))
        await receiver.wait_for(lambda: len(receiver.arrivals) == 1)
    await until(lambda: empty(connection), "it is delivered")
    attempts = await connection.fetch("select outcome, lost_by from attempts")
    assert [tuple(row) for row in attempts] == [("success", None)]


async def test_a_probe_that_its_relay_was_not_told_of_makes_room_for_the_next(
    connection: Connection, settings: Settings, pool: Pool, receiver: Receiver, sending: Sending
) -> None:
    webhook = await add_webhook(connection, settings, receiver.url, ["item-created"], timeout_ms=60_000)
    await write_event(connection)
    await FanOut(pool).batch()
    await connection.execute("update receiver_health set pauses = 1, paused_until = now()")
    await claim_one(pool, sending.identity.relay_id, webhook.id)
    assert await connection.fetchval(
        "select probe_by = leased_by and probe_until = lease_until from receiver_health, deliveries"
    )
    sending.dispatcher.leases.unconfirmed_in([webhook.id])
    sending.board.due([webhook.id])
    # Long before the lease would have run out.
    async with asyncio.timeout(30):
        await receiver.wait_for(lambda: len(receiver.arrivals) == 1)
    await until(lambda: empty(connection), "it is delivered")
