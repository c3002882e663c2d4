"""Order by item, with real relays: waiting deliveries, their successors, and the effect of a
failure on later ones."""

import asyncio
import random
from collections import Counter
from uuid import UUID

import asyncpg
import pytest
from aiohttp import web

from relay.record.order import NO_LONGER_ASKED
from service.platform.ids import new_id
from service.platform.settings import Settings
from tests.support.database import Connection
from tests.support.receivers.receiver import Arrival, Receiver
from tests.support.relay.ordered_webhooks import (
    EVENT,
    Watch,
    blocked,
    change,
    change_all,
    check_order,
    gate,
    items,
    ordered_webhook,
    waits_for,
)
from tests.support.relay.processes import Relays
from tests.support.rows import add_webhook, write_event
from tests.support.waiting import until

# With this interval no relay looks by itself. So every delivery here was found through a hint.
NO_POLL = "3600000"


@pytest.fixture
def watch(receiver: Receiver) -> Watch:
    receiver.answer = watch = Watch()
    return watch


async def test_a_number_stands_after_the_attempt_where_order_is_asked_for_and_nowhere_else(
    connection: Connection, settings: Settings, relays: Relays, receiver: Receiver
) -> None:
    await ordered_webhook(connection, settings, receiver.url + "/ordered")
    await add_webhook(connection, settings, receiver.url + "/plain", [EVENT])
    await relays.start(RELAY_POLL_INTERVAL=NO_POLL)
    (item,) = items(1)
    for number in range(2):
        await change(connection, item, number)
    await write_event(connection, EVENT, '{"name":"no item"}')
    await write_event(connection, EVENT, '{"itemId":"no id"}')
    await receiver.wait_for(lambda: len(receiver.arrivals) == 8)
    await relays.idle()
    keys = ["id", "eventType", "data", "timestamp", "attempt"]
    seen = [(arrival.path, list(arrival.envelope), arrival.envelope.get("sequence")) for arrival in receiver.arrivals]
    assert sorted((path, number) for path, named, number in seen if named == [*keys, "sequence"]) == [
        ("/ordered", 1),
        ("/ordered", 2),
    ]
    assert Counter(path for path, named, _ in seen if named == keys) == {"/plain": 4, "/ordered": 2}


async def test_the_next_is_sent_when_the_one_before_it_has_ended_and_other_items_go_on(
    connection: Connection, settings: Settings, relays: Relays, receiver: Receiver, watch: Watch, database_url: str
) -> None:
    webhook = await ordered_webhook(connection, settings, receiver.url)
    await relays.start(2, RELAY_POLL_INTERVAL=NO_POLL)
    slow, quick = items(2)
    opened = asyncio.Event()

    async def verdict(arrival: Arrival) -> int:
        if arrival.envelope["data"]["itemId"] == str(slow):
            await opened.wait()
        return 200

    watch.verdict = verdict
    await change(connection, slow, 0)
    await receiver.wait_for(lambda: len(receiver.arrivals) == 1)
    second = await change(connection, slow, 1)
    await waits_for(connection, webhook, second)
    for number in range(3):
        await change(connection, quick, number)
    await receiver.wait_for(lambda: len(receiver.arrivals) == 4)
    assert watch.numbers["/", str(quick)] in ([0, 1], [0, 1, 2])
    opened.set()
    await relays.idle()
    assert watch.numbers == {("/", str(slow)): [0, 1], ("/", str(quick)): [0, 1, 2]}
    assert watch.overlaps == []
    await check_order(database_url)


async def test_a_retry_keeps_the_later_ones_waiting(
    connection: Connection, settings: Settings, relays: Relays, receiver: Receiver, watch: Watch, database_url: str
) -> None:
    async def verdict(arrival: Arrival) -> int:
        return 500 if arrival.envelope["data"]["n"] == 0 and arrival.envelope["attempt"] < 3 else 200

    watch.verdict = verdict
    await ordered_webhook(connection, settings, receiver.url)
    await relays.start(RELAY_POLL_INTERVAL=NO_POLL)
    (item,) = items(1)
    await change_all(connection, [item], 3)
    await relays.idle()
    arrived = [(arrival.envelope["sequence"], arrival.envelope["attempt"]) for arrival in receiver.arrivals]
    assert arrived == [(1, 1), (1, 2), (1, 3), (2, 1), (3, 1)]
    await check_order(database_url)


async def test_a_failure_blocks_its_item_and_no_other(
    connection: Connection, settings: Settings, relays: Relays, receiver: Receiver, watch: Watch, database_url: str
) -> None:
    bad, good = items(2)

    async def verdict(arrival: Arrival) -> int:
        return 500 if arrival.envelope["data"]["itemId"] == str(bad) else 200

    watch.verdict = verdict
    webhook = await ordered_webhook(connection, settings, receiver.url, max_retries=0)
    await relays.start(RELAY_POLL_INTERVAL=NO_POLL)
    await change(connection, bad, 0)
    await blocked(connection)
    later = await change(connection, bad, 1)
    await waits_for(connection, webhook, later)
    await change_all(connection, [good], 3)
    await receiver.wait_for(lambda: watch.taken["/", str(good)] == [1, 2, 3])
    assert [arrival.envelope["sequence"] for arrival in receiver.arrivals if str(bad) in str(arrival.body)] == [1]
    assert await connection.fetchval("select event_id from deliveries") == later
    await check_order(database_url)


async def test_with_the_policy_skip_the_later_ones_follow_and_the_end_says_so(
    connection: Connection, settings: Settings, relays: Relays, receiver: Receiver, watch: Watch, database_url: str
) -> None:
    async def verdict(arrival: Arrival) -> int:
        return 500 if arrival.envelope["data"]["n"] == 1 else 200

    watch.verdict = verdict
    await ordered_webhook(connection, settings, receiver.url, "skip", max_retries=1)
    await relays.start(RELAY_POLL_INTERVAL=NO_POLL)
    (item,) = items(1)
    await change_all(connection, [item], 4)
    await relays.idle()
    assert [arrival.envelope["sequence"] for arrival in receiver.arrivals] == [1, 2, 2, 3, 4]
    assert [
        tuple(row) for row in await connection.fetch("select sequence, error from attempts where outcome = 'failed'")
    ] == [(2, "the receiver answered 500; skipped: the later events of its item follow")]
    await check_order(database_url)


async def test_two_who_write_about_one_item_are_heard_in_the_order_of_their_commits(
    connection: Connection, settings: Settings, relays: Relays, receiver: Receiver, watch: Watch, database_url: str
) -> None:
    await ordered_webhook(connection, settings, receiver.url)
    (item,) = items(1)
    await connection.execute("create table counter as select 0 as n")
    await relays.start(2, RELAY_POLL_INTERVAL=NO_POLL)

    async def writer() -> None:
        own = await asyncpg.connect(database_url)
        try:
            for _ in range(30):
                async with own.transaction():
                    # As a mutation does, lock the item before writing its event.
                    await change(own, item, await own.fetchval("update counter set n = n + 1 returning n"))
        finally:
            await own.close()

    await asyncio.gather(writer(), writer())
    await relays.idle()
    assert watch.numbers["/", str(item)] == list(range(1, 61))
    assert watch.taken["/", str(item)] == list(range(1, 61))
    assert watch.overlaps == []
    await check_order(database_url)


@pytest.mark.parametrize("seed", [1, 2])
async def test_order_holds_over_many_items_two_relays_and_failures_in_the_middle(
    seed: int,
    connection: Connection,
    settings: Settings,
    relays: Relays,
    receiver: Receiver,
    watch: Watch,
    database_url: str,
) -> None:
    rng = random.Random(seed)
    doomed = {(item, number) for item in range(20) for number in range(12) if rng.random() < 0.1}
    flaky = {(item, number) for item in range(20) for number in range(12) if rng.random() < 0.2}
    all_items = items(20)
    names = {str(item_id): number for number, item_id in enumerate(all_items)}

    async def verdict(arrival: Arrival) -> int:
        envelope = arrival.envelope
        what = names[envelope["data"]["itemId"]], envelope["data"]["n"]
        await asyncio.sleep(rng.random() * 0.01)
        return 500 if what in doomed or (what in flaky and envelope["attempt"] == 1) else 200

    watch.verdict = verdict
    await ordered_webhook(connection, settings, receiver.url + "/a", "skip", max_retries=1)
    await ordered_webhook(connection, settings, receiver.url + "/b", "skip", max_retries=1)
    await relays.start(2, RELAY_POLL_INTERVAL=NO_POLL)
    count: Counter[UUID] = Counter()
    while len(count) < 20 or min(count.values()) < 12:
        item_id = rng.choice([item_id for item_id in all_items if count[item_id] < 12])
        await change(connection, item_id, count[item_id])
        count[item_id] += 1
    await relays.idle()
    assert watch.overlaps == []
    for path in ("/a", "/b"):
        for number, item_id in enumerate(all_items):
            expected = [n for n in range(12) if (number, n) not in doomed]
            assert watch.numbers[path, str(item_id)] == expected
            assert watch.taken[path, str(item_id)] == [n + 1 for n in expected]
    assert await relays.poll_wakes() == 0
    await check_order(database_url)


async def test_discarding_and_expiring_leave_no_item_standing_still(
    connection: Connection, settings: Settings, relays: Relays, receiver: Receiver, watch: Watch, database_url: str
) -> None:
    webhook = await ordered_webhook(connection, settings, receiver.url)
    await relays.start(RELAY_POLL_INTERVAL=NO_POLL)
    opened = gate(receiver, watch)
    (item,) = items(1)
    await change(connection, item, 0)
    await receiver.wait_for(lambda: len(receiver.arrivals) == 1)
    await change(connection, item, 1)
    last = await change(connection, item, 2)
    await waits_for(connection, webhook, last)
    # Drop the backlog as the API does. The first delivery is under way.
    await connection.execute(
        "update webhooks set discard_through = (select position from log_head), version = version + 1 where id = $1",
        webhook.id,
    )
    await connection.execute("insert into lane_wakes values ($1)", webhook.id)
    await relays.idle()
    after = await change(connection, item, 3)

    async def queued() -> object:
        return await connection.fetchval("select exists (select from deliveries where event_id = $1)", after)

    await until(queued, "the next is queued")
    # The next must wait while the dropped request may still arrive: for as long as its lease.
    assert await connection.fetchval(
        "select d.next_attempt_at = o.not_before and o.not_before > clock_timestamp() from deliveries as d join item_orders as o"
        " on o.webhook_id = d.webhook_id"
    )
    opened.set()
    await connection.execute("update item_orders set not_before = null")
    await connection.execute("update deliveries set next_attempt_at = now()")
    await connection.execute("insert into lane_wakes values ($1)", webhook.id)
    await relays.idle()
    assert [arrival.envelope["sequence"] for arrival in receiver.arrivals] == [1, 4]
    await check_order(database_url)


async def test_an_item_is_not_blocked_where_its_webhook_has_come_to_skip_meanwhile(
    connection: Connection, settings: Settings, relays: Relays, receiver: Receiver, database_url: str
) -> None:
    webhook = await add_webhook(
        connection, settings, receiver.url, [EVENT], max_retries=0, ordering="item", on_failure="block"
    )
    go = asyncio.Event()

    async def answer(_: Arrival) -> web.StreamResponse:
        if len(receiver.arrivals) > 1:
            return web.Response()
        await go.wait()
        return web.Response(status=500)

    receiver.answer = answer
    await relays.start()
    item = new_id()
    for number in range(2):
        await change(connection, item, number)
    await receiver.wait_for(lambda: len(receiver.arrivals) == 1)
    await connection.execute("update webhooks set on_failure = 'skip', version = version + 1 where id = $1", webhook.id)
    go.set()
    await receiver.wait_for(lambda: len(receiver.arrivals) == 2)
    await relays.idle()
    log = "select position, outcome, error from attempts order by position, recorded_at, outcome"
    assert [tuple(row) for row in await connection.fetch(log)] == [
        (1, "failed", "the receiver answered 500"),
        (1, "skipped", NO_LONGER_ASKED),
        (2, "success", None),
    ]
    await check_order(database_url)
