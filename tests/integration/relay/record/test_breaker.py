"""Breakers, and webhooks that are disabled: two relays, and a receiver that the test makes fail."""

import asyncio
from datetime import timedelta

import asyncpg
from aiohttp import web

from relay.rules.breaker import FAILURES
from service.platform.ids import new_id
from service.platform.settings import Settings
from tests.support.database import WAITING, Connection
from tests.support.receivers.receiver import Arrival, Receiver
from tests.support.relay.breakers import answering, lane, notices, open_breaker
from tests.support.relay.processes import Relays
from tests.support.rows import add_user, add_webhook, write_event
from tests.support.waiting import until

SOON = {"WEBHOOK_BREAKER_DELAY": "300"}
NEVER = {"WEBHOOK_BREAKER_DELAY": "3600000"}


async def test_it_opens_after_ten_failures_parks_the_lane_and_closes_when_a_probe_succeeds(
    connection: Connection, settings: Settings, relays: Relays, receiver: Receiver
) -> None:
    owner_id = await add_user(connection)
    everything = ["item-created", "webhook-recovered", "webhook-disabled"]
    url = receiver.url + "/hooks/token?key=secret"
    webhook = await add_webhook(connection, settings, url, everything, max_retries=20, owner_id=owner_id)
    await relays.start(2, **SOON)
    await open_breaker(connection, receiver, webhook.id)
    row = await lane(connection, webhook.id)
    assert row["failures"] >= FAILURES
    assert row["failing_since"] is not None

    # Probes go out one at a time, and each that fails delays the next.
    async def two_probes_failed() -> bool:
        return bool((await lane(connection, webhook.id))["failed_probes"] >= 2)

    await until(two_probes_failed, "two probes have failed")
    pending = await connection.fetchval("select count(*) from deliveries")
    assert pending >= 3
    receiver.answer = answering(200)
    await relays.idle()
    row = await lane(connection, webhook.id)
    assert (row["failures"], row["opened_at"], row["failing_since"], row["probe_by"]) == (0, None, None, None)
    [(kind, data)] = await notices(connection)
    assert kind == "webhook-recovered"
    assert list(data) == ["webhookId", "userId", "url", "failures", "failingSince", "openedAt", "timestamp"]
    assert (data["webhookId"], data["userId"], data["url"]) == (str(webhook.id), str(owner_id), receiver.url)
    assert data["failures"] >= FAILURES
    assert await connection.fetchval("select count(*) from attempts where outcome in ('failed', 'expired')") == 0


async def test_while_it_is_open_nothing_is_sent_and_nothing_is_an_attempt(
    connection: Connection, settings: Settings, relays: Relays, receiver: Receiver
) -> None:
    webhook = await add_webhook(connection, settings, receiver.url, ["item-created"], max_retries=20)
    healthy = await add_webhook(connection, settings, receiver.url + "/healthy", ["location-created"])
    await relays.start(2, **NEVER)
    await open_breaker(connection, receiver, webhook.id)
    # Every retry is due now, and there are new events for both webhooks.
    await connection.execute("update deliveries set next_attempt_at = now() - interval '1 second'")
    attempts = await connection.fetchval("select count(*) from attempts")
    receiver.answer = answering(200)
    arrived = len(receiver.arrivals)
    for _ in range(20):
        await write_event(connection)
        await write_event(connection, "location-created")
    await receiver.wait_for(lambda: sum(seen.path == "/healthy" for seen in receiver.arrivals) == 20)
    assert {seen.path for seen in receiver.arrivals[arrived:]} == {"/healthy"}
    await until(lambda: connection.fetchval("select not exists (select from outbox)"), "the outbox is empty")
    log = "select count(*) from attempts where webhook_id = $1"
    assert await connection.fetchval(log, webhook.id) == attempts
    assert (await lane(connection, webhook.id))["opened_at"] is not None
    assert (await lane(connection, healthy.id))["failures"] == 0


async def test_one_event_that_always_fails_does_not_hold_up_the_others(
    connection: Connection, settings: Settings, relays: Relays, receiver: Receiver
) -> None:
    async def answer(arrival: Arrival) -> web.StreamResponse:
        return web.Response(status=500 if "poison" in arrival.envelope["data"] else 200)

    receiver.answer = answer
    webhook = await add_webhook(connection, settings, receiver.url, ["item-created"], max_retries=3)
    await relays.start(1, **NEVER)
    for _ in range(2):
        await write_event(connection, data='{"poison":true}')
        await write_event(connection)
    await relays.idle()
    assert (await lane(connection, webhook.id))["opened_at"] is None
    log = await connection.fetch("select outcome, count(*) from attempts group by 1 order by 1")
    assert dict(map(tuple, log)) == {"failed": 2, "retry": 6, "success": 2}


async def test_a_manual_retry_goes_as_a_probe(
    connection: Connection, settings: Settings, relays: Relays, receiver: Receiver
) -> None:
    webhook = await add_webhook(connection, settings, receiver.url, ["item-created"], max_retries=20)
    await relays.start(2, **NEVER)
    await open_breaker(connection, receiver, webhook.id)
    receiver.answer = answering(200)
    # The newest delivery, which would not be the probe otherwise.
    position = await connection.fetchval(
        "update deliveries set next_attempt_at = now() where position = (select max(position) from deliveries) returning position"
    )
    async with connection.transaction():
        await connection.execute("update receiver_health set probe_position = $1", position)
        await connection.execute("insert into lane_wakes values ($1)", webhook.id)
    arrived = len(receiver.arrivals)
    await receiver.wait_for(lambda: len(receiver.arrivals) > arrived)
    first = await connection.fetchval("select id from events where position = $1", position)
    assert receiver.arrivals[arrived].event_id == str(first)
    await until(lambda: _closed(connection, webhook.id), "the breaker is closed")
    await relays.idle()


async def _closed(connection: Connection, webhook_id: object) -> bool:
    return (await lane(connection, webhook_id))["opened_at"] is None


async def test_a_test_that_succeeds_closes_it(
    connection: Connection, settings: Settings, relays: Relays, receiver: Receiver
) -> None:
    webhook = await add_webhook(
        connection, settings, receiver.url, ["item-created", "webhook-recovered"], max_retries=20
    )
    await relays.start(2, **NEVER)
    await open_breaker(connection, receiver, webhook.id)
    receiver.answer = answering(200)
    async with connection.transaction():
        await connection.execute(
            "insert into webhook_tests (webhook_id, expires_at) values ($1, now() + interval '60 seconds')", webhook.id
        )
        await connection.execute("insert into lane_wakes values ($1)", webhook.id)
    await until(lambda: _closed(connection, webhook.id), "the breaker is closed")
    await relays.idle()
    assert [kind for kind, _ in await notices(connection)] == ["webhook-recovered"]


async def test_410_disables_the_webhook_and_tells_its_owner_by_another(
    connection: Connection, settings: Settings, relays: Relays, receiver: Receiver
) -> None:
    owner_id, other_id = await add_user(connection, "worker"), await add_user(connection, "worker")
    gone = await add_webhook(connection, settings, receiver.url + "/gone", ["item-created"], owner_id=owner_id)
    kinds = ["webhook-disabled", "delivery-failed"]
    await add_webhook(connection, settings, receiver.url + "/ops", kinds, owner_id=owner_id)
    await add_webhook(connection, settings, receiver.url + "/other", kinds, owner_id=other_id)

    async def answer(arrival: Arrival) -> web.StreamResponse:
        return web.Response(status=410 if arrival.path == "/gone" else 200)

    receiver.answer = answer
    await relays.start(2)
    event_id = await write_event(connection)
    await receiver.wait_for(lambda: sum(seen.path == "/ops" for seen in receiver.arrivals) == 2)
    await relays.idle()
    row = await connection.fetchrow("select active, disabled_at, disabled_reason from webhooks where id = $1", gone.id)
    assert row is not None
    assert (row["active"], row["disabled_reason"]) == (
        False,
        "the receiver answered 410: it will take nothing any more",
    )
    received = {seen.envelope["eventType"]: seen.envelope["data"] for seen in receiver.arrivals if seen.path == "/ops"}
    assert received["webhook-disabled"]["webhookId"] == str(gone.id)
    assert received["webhook-disabled"]["reason"] == "gone"
    assert received["delivery-failed"]["count"] == 1
    assert received["delivery-failed"]["lastEventId"] == str(event_id)
    assert received["delivery-failed"]["lastError"] == "the receiver answered 410"
    assert not [seen for seen in receiver.arrivals if seen.path == "/other"]
    # Nothing is sent to that URL any more.
    await write_event(connection)
    await relays.idle()
    assert sum(seen.path == "/gone" for seen in receiver.arrivals) == 1


async def test_five_days_of_failures_disable_the_webhook_and_what_is_pending_stays(
    connection: Connection, settings: Settings, relays: Relays, receiver: Receiver
) -> None:
    webhook = await add_webhook(connection, settings, receiver.url, ["item-created"], max_retries=20)
    for _ in range(2):
        # The relays behave as if the clock had been steady for an hour.
        await relays.start_changed("from service.platform import server_clock; server_clock.STEADY_SECONDS = 0", **SOON)
    await open_breaker(connection, receiver, webhook.id)
    await connection.execute(
        "update receiver_health set failing_since = failing_since - $1::interval", timedelta(days=5)
    )

    async def disabled() -> bool:
        found: bool = await connection.fetchval("select not active from webhooks where id = $1", webhook.id)
        return found

    await until(disabled, "the webhook is disabled")
    assert await connection.fetchval("select count(*) from deliveries") >= 3
    await until(lambda: connection.fetchval("select not exists (select from outbox)"), "the outbox is empty")
    [(kind, data)] = await notices(connection)
    assert (kind, data["reason"]) == ("webhook-disabled", "failing")


async def test_failures_are_told_of_once_a_minute_with_their_count_and_beget_nothing_further(
    connection: Connection, settings: Settings, relays: Relays, receiver: Receiver
) -> None:
    owner_id = await add_user(connection)
    # The webhook subscribes to its own delivery-failed events. A delivery-failed event that fails
    # causes no further one.
    webhook = await add_webhook(
        connection, settings, receiver.url, ["item-created", "delivery-failed"], max_retries=0, owner_id=owner_id
    )
    receiver.answer = answering(500)
    await relays.start(2, **NEVER)
    for _ in range(5):
        await write_event(connection)
        await relays.idle()
    [(kind, data)] = await notices(connection)
    assert (kind, data["count"], data["lastError"]) == ("delivery-failed", 1, "the receiver answered 500")
    assert (await lane(connection, webhook.id))["unannounced"] == 4
    await connection.execute("update receiver_health set announced_at = announced_at - interval '1 minute'")
    receiver.answer = answering(500)
    await write_event(connection)
    await relays.idle()
    assert [data["count"] for _, data in await notices(connection)] == [1, 5]
    assert (await lane(connection, webhook.id))["unannounced"] == 0


async def test_gone_and_a_success_in_one_batch_disable_the_webhook_and_no_relay(
    connection: Connection, settings: Settings, relays: Relays, receiver: Receiver, database_url: str
) -> None:
    webhook = await add_webhook(connection, settings, receiver.url, ["item-created"])
    await relays.start(1)
    statuses = [200, 410, 200]

    async def in_turn(arrival: Arrival) -> web.StreamResponse:
        return web.Response(status=statuses[len(receiver.arrivals) - 1])

    async def waits() -> bool:
        return bool(await connection.fetchval(WAITING))

    receiver.answer = in_turn
    blocker = await asyncpg.connect(database_url)
    try:
        async with blocker.transaction():
            # The first result must wait, so that the next two are written together.
            await blocker.execute("lock table attempts in share row exclusive mode")
            await write_event(connection)
            await until(waits, "the first result waits")
            for _ in statuses[1:]:
                await write_event(connection)
            await receiver.wait_for(lambda: len(receiver.arrivals) == len(statuses))
            # Also give the relay time to read the answers.
            await asyncio.sleep(0.2)
    finally:
        await blocker.close()

    async def recorded() -> bool:
        return bool(await connection.fetchval("select count(*) = 3 from attempts"))

    await until(recorded, "all three are recorded")
    # The last two may have arrived in either order. For each, the log has the answer that it got.
    rows = await connection.fetch("select event_id, status, outcome from attempts order by position")
    answered = {arrival.event_id: status for arrival, status in zip(receiver.arrivals, statuses, strict=True)}
    assert {str(row["event_id"]): row["status"] for row in rows} == answered
    assert rows[0]["status"] == 200
    assert {(row["status"], row["outcome"]) for row in rows} == {(200, "success"), (410, "failed")}
    assert await connection.fetchval("select not active from webhooks where id = $1", webhook.id)
    # The relay is still there, and sends to others.
    other = await add_webhook(connection, settings, f"{receiver.url}/other", ["item-created"])
    receiver.answer = answering(200)
    event_id = await write_event(connection)
    await receiver.wait_for(lambda: len(receiver.arrivals) == 4)
    assert receiver.arrivals[-1].event_id == str(event_id)
    assert (
        await connection.fetchval(
            "select count(*) from receiver_health where webhook_id = $1 and failures = 0", other.id
        )
        == 1
    )


async def test_a_probe_whose_relay_is_gone_is_sent_by_another(
    connection: Connection, settings: Settings, relays: Relays, receiver: Receiver
) -> None:
    webhook = await add_webhook(connection, settings, receiver.url, ["item-created"], max_retries=20)
    await relays.start(1, **SOON)
    await open_breaker(connection, receiver, webhook.id)
    # The state that a killed relay leaves: its probe has a lease.
    await connection.execute(
        "update receiver_health set probe_at = now(), probe_by = $1, probe_until = now() + interval '1 hour'", new_id()
    )
    receiver.answer = answering(200)
    await connection.execute("insert into lane_wakes values ($1)", webhook.id)
    await relays.idle()
    assert await _closed(connection, webhook.id)
