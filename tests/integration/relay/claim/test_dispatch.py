"""The order in which lanes are claimed, and what claims and sweeps leave for later."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web

from relay.claim.claimer import Claimer
from relay.claim.sweep import Sweep
from relay.lead.fanout import FanOut
from relay.transport import HttpTransport
from service.platform.db import Pool
from service.platform.ids import new_id
from service.platform.queries import load
from service.platform.settings import Settings
from tests.support.database import Connection
from tests.support.receivers.receiver import Arrival, Receiver, accept
from tests.support.relay.sending import Sending, claim_one, register
from tests.support.rows import NOWHERE, add_webhook, write_event
from tests.support.waiting import until

CLAIM = load("claim")


@pytest.fixture
async def transport(settings: Settings) -> AsyncIterator[HttpTransport]:
    transport = HttpTransport(settings.webhook_allowed_networks)
    yield transport
    await transport.close()


async def test_lanes_with_a_backlog_take_turns(
    connection: Connection, settings: Settings, pool: Pool, receiver: Receiver, transport: HttpTransport
) -> None:
    lanes = 12
    for number in range(lanes):
        await add_webhook(connection, settings, f"{receiver.url}/{number}", ["item-created"])
    for _ in range(30):
        await write_event(connection)
    assert (await FanOut(pool).batch()).deliveries == lanes * 30
    answered: Counter[str] = Counter()

    async def count(arrival: Arrival) -> web.StreamResponse:
        answered[arrival.path] += 1
        return await accept(arrival)

    receiver.answer = count
    sending = Sending(pool, settings, await register(connection), transport, concurrency=4, per_webhook=4)
    sending.board.sweep()
    await receiver.wait_for(lambda: answered.total() >= lanes * 15)
    fewest, most = min(answered.values()), max(answered.values())
    await sending.stop()
    assert len(answered) == lanes
    # A claim takes four rows of a lane, and the other lanes have their turn before it comes again.
    assert most - fewest <= 8


async def test_a_clock_that_is_set_back_takes_no_tokens_away(
    connection: Connection, settings: Settings, pool: Pool
) -> None:
    webhook = await add_webhook(connection, settings, NOWHERE, ["item-created"])
    await connection.execute("update webhooks set rate_per_second = 5, rate_burst = 5 where id = $1", webhook.id)
    for _ in range(2):
        await write_event(connection)
    await FanOut(pool).batch()
    relay_id = await register(connection)

    async def claimed(tokens: float) -> list[float | None]:
        later = datetime.now(UTC) + timedelta(hours=1)
        await connection.execute("update receiver_health set tokens = $1, tokens_at = $2", tokens, later)
        rows = await claim_one(pool, relay_id, webhook.id)
        return [row["wait_seconds"] if row["position"] is None else None for row in rows]

    # The lane is not held up until the clock is as late again: one request goes, and then the
    # present clock counts.
    assert None in await claimed(0.5)
    assert await connection.fetchval("select tokens = 0 and tokens_at <= clock_timestamp() from receiver_health")
    assert None in await claimed(1.5)
    assert await connection.fetchval("select tokens from receiver_health") == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("most", "floor", "waits"),
    [(3, None, False), (9, timedelta(minutes=5), False), (9, None, True)],
    ids=["not come to", "looked at in part", "looked at"],
)
async def test_only_an_ordered_lane_that_has_nothing_due_is_left_until_it_has(
    connection: Connection, settings: Settings, pool: Pool, most: int, floor: timedelta | None, waits: bool
) -> None:
    """A lane that has something due must keep its turn."""
    plain = await add_webhook(connection, settings, NOWHERE, ["item-created"])
    ordered = await add_webhook(connection, settings, NOWHERE, ["item-updated"], ordering="item", on_failure="block")
    for _ in range(4):
        await write_event(connection)
    for _ in range(2):
        await write_event(connection, "item-updated", json.dumps({"itemId": str(new_id())}))
    await FanOut(pool).batch()
    await connection.execute("update deliveries set next_attempt_at = now() + interval '1 hour' where position = 6")
    if waits:
        await connection.execute(
            "update deliveries set next_attempt_at = now() + interval '2 hours' where position = 5"
        )
    rows = await CLAIM.claim.fetch(
        connection,
        relay_id=await register(connection),
        webhook_ids=[plain.id, ordered.id],
        shares=[4, 4],
        floors=[None, None if floor is None else datetime.now(UTC) + floor],
        most=most,
        suspects=False,
        now=None,
    )
    asked_to_wait = {row["webhook_id"]: row["wait_seconds"] for row in rows if row["wait_seconds"] is not None}
    assert asked_to_wait == ({ordered.id: pytest.approx(3600, abs=60)} if waits else {})
    assert sum(row["position"] is not None for row in rows) == min(most, 4)


PARKED = {
    "inactive": "update webhooks set active = false where id = $1",
    "owner suspended": "update users set status = 'suspended' where id = (select owner_id from webhooks where id = $1)",
    "breaker open": "update receiver_health set failures = 10, failing_since = now(), opened_at = now(), probe_at = now() + interval '1 hour' where webhook_id = $1",
    "paused": "update receiver_health set pauses = 1, paused_until = now() + interval '1 hour' where webhook_id = $1",
    "backlog dropped": "update webhooks set discard_through = 1000 where id = $1",
}


@pytest.mark.parametrize("how", PARKED)
async def test_a_suspect_in_a_parked_lane_is_not_looked_for(
    how: str, connection: Connection, settings: Settings, pool: Pool
) -> None:
    webhook = await add_webhook(connection, settings, NOWHERE, ["item-created"])
    await write_event(connection)
    await FanOut(pool).batch()
    await connection.execute("update deliveries set lost_leases = 5")
    assert [row["webhook_id"] for row in await CLAIM.suspects.fetch(connection, now=None)] == [webhook.id]
    await connection.execute(PARKED[how], webhook.id)
    assert await CLAIM.suspects.fetch(connection, now=None) == []


async def test_a_suspect_that_cannot_be_had_is_not_looked_for_again_at_once(
    connection: Connection, settings: Settings, pool: Pool, transport: HttpTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    webhook = await add_webhook(connection, settings, NOWHERE, ["item-created"])
    await connection.execute("update webhooks set rate_per_second = 1, rate_burst = 1 where id = $1", webhook.id)
    await connection.execute("update receiver_health set tokens = 0, tokens_at = now()")
    await write_event(connection)
    await FanOut(pool).batch()
    await connection.execute("update deliveries set lost_leases = 5")
    asked = 0
    claim = Claimer.claim

    async def counted(self: Claimer, *lanes: object, suspects: bool = False) -> bool:
        nonlocal asked
        asked += suspects
        return await claim(self, *lanes, suspects=suspects)  # type: ignore[arg-type]

    monkeypatch.setattr(Claimer, "claim", counted)
    sending = Sending(pool, settings, await register(connection), transport)
    sending.board.sweep()
    await asyncio.sleep(0.5)
    await sending.stop()
    assert 1 <= asked <= 3


async def test_a_sweep_that_begins_while_another_looks_begins_at_the_first_lane(
    connection: Connection, settings: Settings, pool: Pool, transport: HttpTransport
) -> None:
    await add_webhook(connection, settings, NOWHERE, ["item-created"])
    await write_event(connection)
    await FanOut(pool).batch()
    sending = Sending(pool, settings, await register(connection), transport)
    await sending.stop()
    sweep = Sweep(pool, sending.board, sending.dispatcher.leases, 3600)
    sweep.begin()
    step = asyncio.create_task(sweep.step())
    await asyncio.sleep(0)
    sending.dispatcher.leases.unconfirmed_anywhere()
    sending.board.sweep()
    await step
    seen = [(sweep.under_way, sending.dispatcher.leases.has_unconfirmed)]
    sweep.begin()
    await sweep.step()
    seen.append((sweep.under_way, sending.dispatcher.leases.has_unconfirmed))
    assert seen == [(True, False), (False, True)]


async def test_what_was_offered_and_not_filled_is_for_lanes_that_wait(
    connection: Connection, settings: Settings, pool: Pool, receiver: Receiver, transport: HttpTransport
) -> None:
    hangs, waits = [
        await add_webhook(connection, settings, f"{receiver.url}/{path}", ["item-created"])
        for path in ("hangs", "waits")
    ]
    # With a longer timeout, the end of this request cannot be what frees the slot of the other.
    await connection.execute("update webhooks set timeout_ms = 30000 where id = $1", hangs.id)
    may_answer = asyncio.Event()

    async def answer(arrival: Arrival) -> web.StreamResponse:
        if arrival.path == "/hangs":
            await may_answer.wait()
        return await accept(arrival)

    receiver.answer = answer
    sending = Sending(pool, settings, await register(connection), transport, per_webhook=1)

    async def idle() -> bool:
        return not sending.dispatcher._sweep.under_way

    await until(idle, "the first sweep is over")
    await write_event(connection)
    await FanOut(pool).batch()
    sending.board.due([hangs.id])
    # This webhook gets the only slot that is not offered. A lane that is hinted meanwhile gets
    # none.
    assert sending.offers.offer().crowded == (hangs.id,)
    sending.board.due([waits.id])
    await receiver.wait_for(lambda: len(receiver.arrivals) == 1)
    await sending.take(pool, await FanOut(pool).batch())
    async with asyncio.timeout(10):
        await receiver.wait_for(lambda: len(receiver.arrivals) == 2)
    assert [arrival.path for arrival in receiver.arrivals] == ["/hangs", "/waits"]
    may_answer.set()
    await sending.stop()


async def test_results_wait_for_a_partition(
    connection: Connection, settings: Settings, pool: Pool, receiver: Receiver, transport: HttpTransport
) -> None:
    await add_webhook(connection, settings, receiver.url, ["item-created"])
    await write_event(connection)
    await FanOut(pool).batch()
    for (name,) in await connection.fetch(
        "select inhrelid::regclass::text from pg_inherits where inhparent = 'attempts'::regclass"
    ):
        await connection.execute(f"drop table {name}")
    sending = Sending(pool, settings, await register(connection), transport)
    await receiver.wait_for(lambda: len(receiver.arrivals) == 1)

    async def kept() -> bool:
        return bool(sending.recorder.fences()) and not any(task.done() for task in sending.tasks)

    await until(kept, "the result is kept")
    await asyncio.sleep(0.2)
    assert await kept()
    await connection.execute("select make_partitions(1)")

    async def recorded() -> bool:
        return bool(await connection.fetchval("select count(*) from attempts where outcome = 'success'"))

    await until(recorded, "it is recorded")
    await sending.stop()
