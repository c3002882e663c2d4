"""One relay and a real receiver: requests, retries, log and counts."""

import asyncio
import signal
from uuid import UUID

from aiohttp import web
from standardwebhooks import Webhook as StandardWebhook

from service.delivery import sign
from service.platform.settings import Settings
from tests.support.database import Connection
from tests.support.receivers.receiver import Arrival, Receiver
from tests.support.relay.processes import Relays
from tests.support.rows import add_webhook, write_event
from tests.support.waiting import until


async def test_a_row_inserted_by_psql_is_delivered_with_both_signatures(
    connection: Connection, settings: Settings, relays: Relays, receiver: Receiver
) -> None:
    webhook = await add_webhook(
        connection, settings, receiver.url + "/hook?x=1", ["item-created"], headers={"Authorization": "Bearer xyz"}
    )
    await relays.start()
    # Written as a person types it: white space, escapes, and keys in no special order.
    event_id = await write_event(connection, data='{ "name": "Pump \\u00bd", "b": [1, 2],\n "a": null }')
    await receiver.wait_for(lambda: len(receiver.arrivals) == 1)
    [arrival] = receiver.arrivals
    data = '{"name":"Pump ½","b":[1,2],"a":null}'.encode()
    assert arrival.path == "/hook"
    assert arrival.headers["X-Webhook-Signature"] == sign.sign_data(webhook.secret, data)
    assert arrival.headers["X-Webhook-ID"] == str(webhook.id)
    assert arrival.headers["X-Event-Type"] == "item-created"
    assert arrival.headers["Content-Type"] == "application/json"
    assert arrival.headers["Authorization"] == "Bearer xyz"
    assert list(arrival.envelope) == ["id", "eventType", "data", "timestamp", "attempt"]
    assert arrival.envelope["id"] == str(event_id)
    assert arrival.envelope["attempt"] == 1
    assert data in arrival.body
    StandardWebhook(webhook.secret).verify(arrival.body, dict(arrival.headers))
    await relays.idle()
    attempt = await connection.fetchrow("select * from attempts")
    assert attempt is not None
    assert (attempt["outcome"], attempt["status"], attempt["attempt"]) == ("success", 200, 1)
    assert attempt["response_body"] == b"ok"
    assert "xyz" not in attempt["request_headers"]
    assert await connection.fetchval("select position from events where deliveries = 1") == 1


async def test_a_failure_is_retried_with_a_higher_attempt_and_counted_once(
    connection: Connection, settings: Settings, relays: Relays, receiver: Receiver
) -> None:
    async def answer(arrival: Arrival) -> web.StreamResponse:
        return web.Response(status=500 if arrival.envelope["attempt"] < 3 else 204)

    receiver.answer = answer
    webhook = await add_webhook(connection, settings, receiver.url, ["item-created"])
    await relays.start()
    event_id = await write_event(connection)
    await receiver.wait_for(lambda: len(receiver.arrivals) == 3)
    await relays.idle()
    assert [arrival.envelope["attempt"] for arrival in receiver.arrivals] == [1, 2, 3]
    assert set(receiver.ids()) == {str(event_id)}
    log = await connection.fetch("select outcome, status, error from attempts order by attempt")
    assert [tuple(row) for row in log] == [
        ("retry", 500, "the receiver answered 500"),
        ("retry", 500, "the receiver answered 500"),
        ("success", 204, None),
    ]
    counts = await connection.fetch("select webhook_id, status, ended, current from delivery_counts")
    assert [tuple(row) for row in counts] == [(webhook.id, "success", 1, 1)]


async def test_a_delivery_fails_for_good_after_its_retries(
    connection: Connection, settings: Settings, relays: Relays, receiver: Receiver
) -> None:
    async def answer(_: Arrival) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": receiver.url + "/elsewhere"})

    receiver.answer = answer
    await add_webhook(connection, settings, receiver.url + "/hook", ["item-created"], max_retries=1)
    await relays.start()
    await write_event(connection)
    await relays.idle()
    assert {arrival.path for arrival in receiver.arrivals} == {"/hook"}
    log = await connection.fetch("select attempt, outcome, error from attempts order by attempt")
    assert [tuple(row) for row in log] == [
        (1, "retry", "the receiver answered 302; a redirect is not followed"),
        (2, "failed", "the receiver answered 302; a redirect is not followed"),
    ]


async def test_a_private_address_is_refused_when_connecting(
    connection: Connection, settings: Settings, relays: Relays, receiver: Receiver
) -> None:
    await add_webhook(connection, settings, receiver.url, ["item-created"], max_retries=0)
    await add_webhook(
        connection, settings, receiver.url.replace("127.0.0.1", "localhost"), ["item-created"], max_retries=0
    )
    await relays.start(WEBHOOK_ALLOWED_NETWORKS="10.0.0.0/8")
    await write_event(connection)
    await relays.idle()
    errors = [row["error"] for row in await connection.fetch("select error from attempts where outcome = 'failed'")]
    assert len(errors) == 2
    assert all("is a private address" in error for error in errors), errors
    assert receiver.arrivals == []


async def test_a_test_is_one_attempt_outside_queue_and_statistics(
    connection: Connection, settings: Settings, relays: Relays, receiver: Receiver
) -> None:
    webhook = await add_webhook(connection, settings, receiver.url, ["item-created"])
    await connection.execute("update webhooks set active = false")
    await relays.start()
    async with connection.transaction():
        await connection.execute(
            "insert into webhook_tests (webhook_id, expires_at) values ($1, now() + interval '35 seconds')", webhook.id
        )
        await connection.execute("insert into lane_wakes values ($1)", webhook.id)

    async def finished() -> object:
        return await connection.fetchval("select status from webhook_tests where finished_at is not null")

    await until(finished, "the test is finished")
    assert await finished() == 200
    assert receiver.arrivals[0].envelope["eventType"] == "test"
    StandardWebhook(webhook.secret).verify(receiver.arrivals[0].body, dict(receiver.arrivals[0].headers))
    assert await connection.fetchval("select count(*) from attempts") == 0
    assert await connection.fetchval("select count(*) from delivery_counts") == 0


async def test_tests_of_a_receiver_that_hangs_hold_up_neither_deliveries_nor_tests_of_others(
    connection: Connection, settings: Settings, relays: Relays, receiver: Receiver
) -> None:
    hangs = await add_webhook(connection, settings, receiver.url + "/hangs", ["item-deleted"], timeout_ms=60_000)
    well = await add_webhook(connection, settings, receiver.url + "/well", ["item-created"])

    async def answer(arrival: Arrival) -> web.StreamResponse:
        if arrival.path == "/hangs":
            await asyncio.sleep(60)
        return web.Response()

    def sent(path: str) -> int:
        return sum(arrival.path == path for arrival in receiver.arrivals)

    async def ask(webhook_id: UUID, count: int) -> None:
        async with connection.transaction():
            await connection.execute(
                "insert into webhook_tests (webhook_id, expires_at)"
                " select $1, now() + interval '60 seconds' from generate_series(1, $2)",
                webhook_id,
                count,
            )
            await connection.execute("insert into lane_wakes values ($1)", webhook_id)

    receiver.answer = answer
    await relays.start(1, RELAY_CONCURRENCY="2", RELAY_GRACE="0")
    await ask(hangs.id, 30)
    await receiver.wait_for(lambda: sent("/hangs") == 4)
    await write_event(connection)
    await ask(well.id, 2)
    await receiver.wait_for(lambda: sent("/well") == 3)
    assert sent("/hangs") == 4


async def test_a_deleted_webhook_gets_nothing_more_and_what_was_pending_is_cancelled(
    connection: Connection, settings: Settings, relays: Relays, receiver: Receiver
) -> None:
    async def answer(_: Arrival) -> web.StreamResponse:
        return web.Response(status=503)

    receiver.answer = answer
    webhook = await add_webhook(connection, settings, receiver.url, ["item-created"], retry_delay_ms=60_000)
    await relays.start()
    await write_event(connection)

    async def waits() -> object:
        return await connection.fetchval("select attempts = 1 and leased_by is null from deliveries")

    await until(waits, "the first attempt is recorded")
    async with connection.transaction():
        await connection.execute(
            "update webhooks set deleted_at = now(), active = false, discard_through = 9223372036854775807"
        )
        await connection.execute("insert into lane_wakes values ($1)", webhook.id)
    await relays.idle()
    assert await connection.fetchval("select count(*) from attempts where outcome = 'cancelled'") == 1
    await write_event(connection)
    await relays.idle()
    assert len(receiver.arrivals) == 1


async def test_a_stopped_relay_finishes_what_is_in_flight_and_leaves(
    connection: Connection, settings: Settings, relays: Relays, receiver: Receiver
) -> None:
    released = asyncio.Event()

    async def answer(_: Arrival) -> web.StreamResponse:
        await released.wait()
        return web.Response()

    receiver.answer = answer
    await add_webhook(connection, settings, receiver.url, ["item-created"])
    [relay] = await relays.start()
    await write_event(connection)
    await receiver.wait_for(lambda: len(receiver.arrivals) == 1)
    relay.send(signal.SIGTERM)
    # The relay is still there, and its lease is valid while the request is in flight.
    assert await relays.row(relay) is not None
    released.set()
    assert await relay.ended() == 0
    assert await connection.fetchval("select count(*) from relays") == 0
    assert await connection.fetchval("select count(*) from deliveries") == 0
    assert await connection.fetchval("select outcome from attempts") == "success"
    assert [line for line in relay.log() if line["level"] in ("warning", "error")] == []
