"""Attempts and ends that say nothing about the receiver: what is recorded of them."""

import asyncio
import json
import time

import asyncpg
import pytest
from aiohttp import web

from relay.lead.fanout import FanOut
from relay.record.settle import HealthReport
from relay.transport import HttpTransport
from service.platform.db import Pool
from service.platform.ids import new_id
from service.platform.settings import Settings
from tests.support.database import Connection
from tests.support.receivers.receiver import Arrival, Receiver
from tests.support.relay.breakers import lane, notices
from tests.support.relay.processes import Relays
from tests.support.relay.sending import Sending, register
from tests.support.rows import add_user, add_webhook, write_event
from tests.support.waiting import until

OPEN = "update receiver_health set failures = 10, failing_since = now(), failed_events = '{1,2,3}', opened_at = now(), probe_at = now()"


async def test_a_probe_that_ends_without_a_request_makes_room_for_the_next_at_once(
    connection: Connection, settings: Settings, relays: Relays, receiver: Receiver
) -> None:
    owner = await add_user(connection, "admin")
    webhook = await add_webhook(
        connection, settings, receiver.url, ["item-created", "user-logout"], owner_id=owner, timeout_ms=60_000
    )
    await connection.execute("update users set status = 'suspended' where id = $1", owner)
    await relays.start(1, WEBHOOK_BREAKER_DELAY="100")
    for _ in range(3):
        await write_event(connection, "user-logout", json.dumps({"userId": str(new_id())}))
    await write_event(connection)

    async def queued() -> bool:
        return bool(await connection.fetchval("select count(*) = 4 from deliveries"))

    await until(queued, "all are queued")
    await connection.execute(OPEN)
    # The owner is no admin any more, and may not read the subjects of three of the events.
    await connection.execute("update users set role = 'worker', status = 'active' where id = $1", owner)
    await connection.execute("insert into lane_wakes values ($1)", webhook.id)
    await receiver.wait_for(lambda: len(receiver.arrivals) == 1)
    await relays.idle()
    assert await connection.fetchval("select count(*) from attempts where outcome = 'cancelled'") == 3
    # Long before the lease of the first such probe would have run out.
    assert await connection.fetchval("select max(recorded_at) - min(recorded_at) < interval '30 s' from attempts")


async def test_410_of_the_url_that_a_webhook_had_before_does_not_disable_it(
    connection: Connection, settings: Settings, relays: Relays, receiver: Receiver
) -> None:
    moved = asyncio.Event()

    async def answer(arrival: Arrival) -> web.StreamResponse:
        if arrival.path == "/old":
            await moved.wait()
            return web.Response(status=410)
        return web.Response()

    receiver.answer = answer
    webhook = await add_webhook(connection, settings, receiver.url + "/old", ["item-created"], max_retries=0)
    await relays.start(1)
    await write_event(connection)
    await receiver.wait_for(lambda: len(receiver.arrivals) == 1)
    await connection.execute(
        "update webhooks set url = $2, version = version + 1 where id = $1", webhook.id, receiver.url + "/new"
    )
    moved.set()
    await relays.idle()
    assert await connection.fetchval("select status from attempts") == 410
    assert await connection.fetchval("select active from webhooks where id = $1", webhook.id)
    assert (await lane(connection, webhook.id))["failures"] == 0
    await write_event(connection)
    await receiver.wait_for(lambda: len(receiver.arrivals) == 2)


async def test_a_failure_without_a_request_is_told_of(
    connection: Connection, settings: Settings, relays: Relays, receiver: Receiver
) -> None:
    owner = await add_user(connection)
    webhook = await add_webhook(connection, settings, receiver.url, ["item-created"], owner_id=owner)
    await connection.execute("update webhooks set secret_sealed = repeat('x', 48)::bytea where id = $1", webhook.id)
    await add_webhook(connection, settings, receiver.url + "/ops", ["delivery-failed"], owner_id=owner)
    await relays.start(1)
    await write_event(connection)
    await receiver.wait_for(lambda: len(receiver.arrivals) == 1)
    [(kind, data)] = await notices(connection)
    assert (kind, data["webhookId"], data["count"]) == ("delivery-failed", str(webhook.id), 1)
    assert data["lastError"].startswith("cannot sign")
    assert (await lane(connection, webhook.id))["failures"] == 0


async def test_what_is_recorded_is_not_recorded_again_when_its_lane_could_not_be_written(
    connection: Connection,
    settings: Settings,
    queues: Pool,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    webhook = await add_webhook(connection, settings, receiver.url, ["item-created"])
    relay_id = await register(connection)
    await connection.execute(OPEN)
    for _ in range(2):
        await write_event(connection)
    await FanOut(queues).batch()
    sending = Sending(queues, settings, relay_id, HttpTransport(settings.webhook_allowed_networks))
    settle, cut_off = sending.recorder._settler.settle, [True]

    async def once_cut_off(connection: Connection, results: dict[object, HealthReport], **options: bool) -> object:
        if cut_off:
            cut_off.pop()
            raise asyncpg.ConnectionDoesNotExistError("cut off")
        return await settle(connection, results, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(sending.recorder._settler, "settle", once_cut_off)

    async def beat() -> None:
        while True:
            sending.outage.alive(time.monotonic())
            await asyncio.sleep(0.1)

    beating = asyncio.create_task(beat())
    try:
        sending.board.due([webhook.id])
        await receiver.wait_for(lambda: len(receiver.arrivals) == 2)

        async def recorded() -> bool:
            return bool(await connection.fetchval("select count(*) = 2 from attempts where outcome = 'success'"))

        await until(recorded, "both are recorded")
    finally:
        beating.cancel()
        await sending.stop()
    assert not cut_off
    assert await connection.fetchval("select count(*) from attempts") == 2
    assert (await lane(connection, webhook.id))["opened_at"] is None
