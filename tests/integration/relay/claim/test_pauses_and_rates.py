"""Pauses that a receiver asks for, and rate limits of webhooks."""

import asyncio
from datetime import timedelta

from aiohttp import web

from service.platform.settings import Settings
from tests.support.database import Connection
from tests.support.receivers.receiver import Arrival, Receiver, accept
from tests.support.relay.breakers import answering, lane
from tests.support.relay.processes import Relays
from tests.support.rows import add_webhook, write_event
from tests.support.waiting import until

NEVER = {"WEBHOOK_BREAKER_DELAY": "3600000"}


async def test_retry_after_holds_the_whole_lane(
    connection: Connection, settings: Settings, relays: Relays, receiver: Receiver
) -> None:
    webhook = await add_webhook(connection, settings, receiver.url, ["item-created"], max_retries=5)
    receiver.answer = answering(429, **{"Retry-After": "3600"})
    await relays.start(2)
    await write_event(connection)

    async def paused() -> bool:
        return (await lane(connection, webhook.id))["paused_until"] is not None

    await until(paused, "the lane is paused")
    receiver.answer = answering(200)
    await connection.execute("update deliveries set next_attempt_at = now()")
    for _ in range(5):
        await write_event(connection)
    await until(lambda: connection.fetchval("select not exists (select from outbox)"), "the outbox is empty")
    # Another lane is served meanwhile, so the relays had an occasion to send.
    await add_webhook(connection, settings, receiver.url + "/other", ["location-created"])
    await write_event(connection, "location-created")
    await receiver.wait_for(lambda: receiver.arrivals[-1].path == "/other")
    assert [seen.path for seen in receiver.arrivals] == ["/", "/other"]
    left = await connection.fetchval(
        "select paused_until - now() from receiver_health where webhook_id = $1", webhook.id
    )
    assert timedelta(minutes=58) < left <= timedelta(hours=1)
    async with connection.transaction():
        await connection.execute("update receiver_health set paused_until = now() where webhook_id = $1", webhook.id)
        await connection.execute("insert into lane_wakes values ($1)", webhook.id)
    await relays.idle()
    assert (await lane(connection, webhook.id))["pauses"] == 0


async def test_503_slows_the_lane_until_a_success(
    connection: Connection, settings: Settings, relays: Relays, receiver: Receiver
) -> None:
    ill = True

    async def answer(_: Arrival) -> web.StreamResponse:
        return web.Response(status=503 if ill else 200)

    receiver.answer = answer
    webhook = await add_webhook(connection, settings, receiver.url, ["item-created"], max_retries=20)
    await relays.start(2, **NEVER)
    await write_event(connection)
    await receiver.wait_for(lambda: len(receiver.arrivals) >= 2)
    assert (await lane(connection, webhook.id))["pauses"] >= 1
    ill = False
    for _ in range(50):
        await write_event(connection)
    await relays.idle()
    assert len(set(receiver.ids())) == 51
    row = await lane(connection, webhook.id)
    assert (row["pauses"], row["paused_until"]) == (0, None)


async def test_after_a_pause_one_request_goes_at_a_time_until_one_succeeds(
    connection: Connection, settings: Settings, relays: Relays, receiver: Receiver
) -> None:
    """Two relays send to a slow receiver, while new events keep coming."""
    under_way, most, succeeded = 0, 0, asyncio.Event()

    async def answer(arrival: Arrival) -> web.StreamResponse:
        nonlocal under_way, most
        if arrival is receiver.arrivals[0]:
            return web.Response(status=503)
        under_way += 1
        if not succeeded.is_set():
            most = max(most, under_way)
        await asyncio.sleep(1.3)
        under_way -= 1
        if len(receiver.arrivals) < 4:
            return web.Response(status=500)
        succeeded.set()
        return await accept(arrival)

    receiver.answer = answer
    webhook = await add_webhook(connection, settings, receiver.url, ["item-created"], max_retries=5)
    await relays.start(2, **NEVER)
    await write_event(connection)

    async def paused() -> bool:
        return bool((await lane(connection, webhook.id))["pauses"] == 1)

    await until(paused, "the lane is paused")
    async with asyncio.timeout(60):
        while not succeeded.is_set():
            await write_event(connection)
            await asyncio.sleep(0.1)
            # The retries come due at once, too.
            await connection.execute("update deliveries set next_attempt_at = now() where next_attempt_at > now()")
    assert most == 1
    assert len(receiver.arrivals) >= 4
    await relays.idle()
    assert (await lane(connection, webhook.id))["pauses"] == 0


async def test_a_rate_is_kept_across_relays(
    connection: Connection, settings: Settings, relays: Relays, receiver: Receiver
) -> None:
    webhook = await add_webhook(connection, settings, receiver.url, ["item-created"])
    free = await add_webhook(connection, settings, receiver.url + "/free", ["item-created"])
    await connection.execute("update webhooks set rate_per_second = 20, rate_burst = 5 where id = $1", webhook.id)
    loop = asyncio.get_running_loop()
    times: list[float] = []

    async def answer(arrival: Arrival) -> web.StreamResponse:
        if arrival.path == "/":
            times.append(loop.time())
        return web.Response()

    receiver.answer = answer
    await relays.start(3)
    async with connection.transaction():
        for _ in range(45):
            await write_event(connection)
    await receiver.wait_for(lambda: sum(seen.path == "/free" for seen in receiver.arrivals) == 45)
    await receiver.wait_for(lambda: len(times) == 45)
    await relays.idle()
    claims = await connection.fetch(
        "select started_at from attempts where webhook_id = $1 order by started_at", webhook.id
    )
    moments = [row["started_at"] for row in claims]
    # In any span, at most the tokens of the bucket and those that flow into it. On a busy machine a
    # quarter of a second may pass between a token and its request. Three buckets would give 15 at
    # once.
    for first in range(len(moments)):
        for last in range(first + 1, len(moments)):
            allowed = 5 + 20 * ((moments[last] - moments[first]).total_seconds() + 0.25) + 1
            assert last - first + 1 <= allowed, (first, last)
    assert await connection.fetchval("select count(*) from attempts where webhook_id = $1", free.id) == 45
