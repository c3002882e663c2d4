"""Explain says why an event was or was not delivered to a webhook. Each reason is really brought
about."""

import asyncio
from typing import Any
from uuid import UUID

from aiohttp import web

from service.platform.db import Pool
from service.platform.ids import new_id
from service.platform.queries import load
from tests.support.api.caller import Api, Caller, SignUp
from tests.support.api.webhooks import make_webhook
from tests.support.database import Connection
from tests.support.receivers.receiver import Arrival, Receiver
from tests.support.relay.fan_out import drain
from tests.support.relay.processes import Relays
from tests.support.rows import NOWHERE
from tests.support.waiting import until

KEYS = ["event", "webhook", "delivered", "reason", "basis", "detail", "at", "attempt", "filter"]


async def _created(connection: Connection) -> UUID:
    """The event of the item that has just been created."""
    event_id: UUID = await connection.fetchval("select id from outbox where type = 'item-created'")
    return event_id


async def _why(caller: Caller, webhook: dict[str, Any], event_id: object) -> Any:
    answer = await caller.get(f"/events/{event_id}/explain", webhook=webhook["id"])
    assert answer.status == 200, answer.body
    assert list(answer.body) == KEYS
    assert answer.body["detail"]
    assert answer.body["webhook"]["id"] == webhook["id"]
    return answer.body


async def test_what_a_relay_did_is_the_reason(
    admin: Caller, sign_up: SignUp, api: Api, relays: Relays, receiver: Receiver, connection: Connection
) -> None:
    released = asyncio.Event()

    async def answer(arrival: Arrival) -> web.StreamResponse:
        if arrival.path == "/hangs":
            await released.wait()
        return web.Response(status=200 if arrival.path == "/takes" else 500)

    receiver.answer = answer
    worker = Caller(api, await sign_up("worker"))
    owners = {"suspended": worker}
    once, later = {"maxRetries": 0}, {"maxRetries": 1, "retryDelay": 60000}
    webhooks = {
        name: await make_webhook(
            owners.get(name, admin), url=f"{receiver.url}/{name}", events=["category-created"], retryPolicy=policy
        )
        for name, policy in (
            ("takes", once),
            ("refuses", once),
            ("waits", later),
            ("parked", later),
            ("suspended", later),
            ("dropped", later),
            ("hangs", once),
        )
    }
    await relays.start()
    await admin.make("/categories", name="Pumps")
    await receiver.wait_for(lambda: len(receiver.arrivals) == len(webhooks))
    event_id = receiver.arrivals[0].event_id

    async def recorded() -> bool:
        found: int = await connection.fetchval("select count(*) from attempts")
        return found == len(webhooks) - 1

    await until(recorded, "all but the one that hangs have been attempted")

    sending = await _why(admin, webhooks["hangs"], event_id)
    assert (sending["reason"], sending["basis"], sending["delivered"]) == ("sending", "log", False)
    assert sending["attempt"] == 1
    assert sending["event"]["eventType"] == "category-created"
    released.set()

    delivered = await _why(admin, webhooks["takes"], event_id)
    assert (delivered["reason"], delivered["basis"], delivered["delivered"]) == ("delivered", "log", True)
    assert (delivered["attempt"], delivered["filter"]) == (1, None)
    assert delivered["at"] in delivered["detail"]
    failed = await _why(admin, webhooks["refuses"], event_id)
    assert (failed["reason"], failed["basis"], failed["delivered"]) == ("failed", "log", False)
    assert failed["detail"] == "the receiver answered 500"
    pending = await _why(admin, webhooks["waits"], event_id)
    assert (pending["reason"], pending["basis"], pending["delivered"]) == ("pending", "log", False)
    assert pending["detail"] == f"attempt 2 is due at {pending['at']}"

    await admin.put(f"/webhooks/{webhooks['parked']['id']}", {"active": False})
    parked = await _why(admin, webhooks["parked"], event_id)
    assert (parked["reason"], parked["basis"]) == ("parked", "log")
    assert "active again" in parked["detail"]
    await connection.execute("update users set status = 'suspended' where id = $1", worker.token.user_id)
    suspended = await _why(admin, webhooks["suspended"], event_id)
    assert (suspended["reason"], suspended["basis"]) == ("parked", "log")
    assert "suspended" in suspended["detail"]

    await admin.put(f"/webhooks/{webhooks['dropped']['id']}", {"active": True, "pending": "discard"})

    async def cancelled() -> bool:
        found: bool = await connection.fetchval("select exists (select from attempts where outcome = 'cancelled')")
        return found

    await until(cancelled, "what is no longer wanted has been ended")
    dropped = await _why(admin, webhooks["dropped"], event_id)
    assert (dropped["reason"], dropped["basis"], dropped["attempt"]) == ("cancelled", "log", 1)
    assert dropped["detail"] == "no longer wanted by its webhook"


async def test_what_was_delivered_stays_so_while_it_is_sent_again_or_when_it_then_fails(
    admin: Caller, relays: Relays, receiver: Receiver, connection: Connection
) -> None:
    webhook = await make_webhook(
        admin, url=receiver.url, events=["category-created"], retryPolicy={"maxRetries": 1, "retryDelay": 60000}
    )
    await relays.start()
    await admin.make("/categories", name="Pumps")
    await receiver.wait_for(lambda: len(receiver.arrivals) == 1)
    await relays.idle()

    async def refuse(_: Arrival) -> web.StreamResponse:
        return web.Response(status=500)

    receiver.answer = refuse
    event_id = receiver.arrivals[0].event_id
    assert (await admin.post(f"/webhooks/{webhook['id']}/events/{event_id}/retry", None)).status == 200

    async def waits() -> object:
        return await connection.fetchval("select attempts = 2 from deliveries")

    await until(waits, "the repeated delivery waits for its retry")
    why = await _why(admin, webhook, event_id)
    assert (why["reason"], why["delivered"], why["attempt"]) == ("pending", True, 2)


async def test_before_a_relay_sends_it_an_event_waits_for_routing_then_for_its_turn(
    admin: Caller, pool: Pool, connection: Connection
) -> None:
    webhook = await make_webhook(admin, url=NOWHERE)
    await admin.make("/items", name="Pump")
    event_id = await _created(connection)
    early = await _why(admin, webhook, event_id)
    assert (early["reason"], early["basis"], early["delivered"]) == ("not_fanned_out_yet", "log", False)
    assert early["event"] == {"id": str(event_id), "eventType": None, "createdAt": None, "routedAt": None}

    await drain(pool)
    due = await _why(admin, webhook, event_id)
    assert (due["reason"], due["basis"], due["detail"]) == ("pending", "log", "attempt 1 is due now")
    assert due["event"]["eventType"] == "item-created"

    # The backlog is marked as discarded, and not ended yet: no relay is running.
    await admin.put(f"/webhooks/{webhook['id']}", {"active": True, "pending": "discard"})
    dropped = await _why(admin, webhook, event_id)
    assert (dropped["reason"], dropped["basis"]) == ("cancelled", "log")


async def test_what_was_still_pending_when_its_event_grew_too_old_is_expired(
    admin: Caller, pool: Pool, connection: Connection
) -> None:
    webhook = await make_webhook(admin, url=NOWHERE)
    await admin.make("/items", name="Pump")
    event_id = await _created(connection)
    await drain(pool)
    later = await connection.fetchval("select now() + interval '31 days'")
    expire = load("retention").expire.fetchval
    assert (
        await expire(connection, now=later, ttl_seconds=2_592_000, batch=10, only=None, webhook_ids=[], item_ids=[])
        == 1
    )
    why = await _why(admin, webhook, event_id)
    assert (why["reason"], why["basis"], why["delivered"]) == ("expired", "log", False)
    assert why["detail"] == "still pending when its event expired"


async def test_the_configuration_is_the_reason_where_nothing_is_on_record(
    admin: Caller, pool: Pool, connection: Connection
) -> None:
    here, there = [(await admin.make("/locations", name=name))["id"] for name in ("Here", "There")]
    kind, other = [(await admin.make("/categories", name=name))["id"] for name in ("Pumps", "Drills")]
    elsewhere = await make_webhook(admin, url=NOWHERE, events=["low-stock-alert"], filters={"locations": [here]})
    unkind = await make_webhook(admin, url=NOWHERE, events=["low-stock-alert"], filters={"categories": [kind]})
    alarmed = await make_webhook(admin, url=NOWHERE, events=["low-stock-alert"], filters={"minStockThreshold": 3})
    uninterested = await make_webhook(admin, url=NOWHERE, events=["item-deleted"])
    asleep = await make_webhook(admin, url=NOWHERE, events=["low-stock-alert"])
    await admin.put(f"/webhooks/{asleep['id']}", {"active": False})
    await admin.make("/items", name="Pump", quantity=4, min_quantity=5, location_id=there, category_id=other)
    event_id = await connection.fetchval("select id from outbox where type = 'low-stock-alert'")
    await drain(pool)

    for webhook, held_back in (
        (elsewhere, {"name": "locations", "wanted": [here], "found": [there]}),
        (unkind, {"name": "categories", "wanted": [kind], "found": other}),
        (alarmed, {"name": "minStockThreshold", "wanted": 3, "found": 4}),
    ):
        why = await _why(admin, webhook, event_id)
        assert (why["reason"], why["basis"], why["delivered"]) == ("filtered", "configuration", False)
        assert why["filter"] == held_back
        assert "changed" not in why["detail"]
    why = await _why(admin, uninterested, event_id)
    assert (why["reason"], why["basis"]) == ("not_subscribed", "configuration")
    assert why["detail"] == "the webhook does not name low-stock-alert"
    why = await _why(admin, asleep, event_id)
    assert (why["reason"], why["basis"]) == ("webhook_inactive", "configuration")

    # The webhook was changed since, so the answer names the time of that change.
    await admin.put(f"/webhooks/{uninterested['id']}", {"events": ["item-created"]})
    why = await _why(admin, uninterested, event_id)
    assert (why["reason"], why["basis"]) == ("not_subscribed", "configuration")
    assert why["webhook"]["updatedAt"] in why["detail"]
    await admin.put(f"/webhooks/{asleep['id']}", {"active": True})
    why = await _why(admin, asleep, event_id)
    assert (why["reason"], why["basis"]) == ("not_recorded", "configuration")
    assert why["webhook"]["updatedAt"] in why["detail"]

    newcomer = await make_webhook(admin, url=NOWHERE, events=["low-stock-alert"])
    why = await _why(admin, newcomer, event_id)
    assert (why["reason"], why["basis"]) == ("created_later", "log")
    assert why["at"] == newcomer["createdAt"] > why["event"]["routedAt"]


async def test_an_event_that_the_owner_may_not_read_reveals_nothing(
    admin: Caller, api: Api, sign_up: SignUp, pool: Pool, connection: Connection
) -> None:
    foreman = Caller(api, await sign_up("foreman"))
    place = (await admin.make("/locations", name="Secret depot"))["id"]
    matching = await make_webhook(foreman, url=NOWHERE, events=["item-created"])
    other = await make_webhook(foreman, url=NOWHERE, events=["item-deleted"])
    await admin.make("/items", name="Secret pump", location_id=place)
    event_id = await _created(connection)
    await drain(pool)
    late = await make_webhook(foreman, url=NOWHERE, events=["item-created"])
    for caller in (foreman, admin):
        for webhook in (matching, other, late):
            why = await _why(caller, webhook, event_id)
            assert (why["reason"], why["basis"], why["delivered"]) == ("not_readable_by_owner", "configuration", False)
            assert why["event"] == {"id": str(event_id), "eventType": None, "createdAt": None, "routedAt": None}
            assert (why["at"], why["attempt"], why["filter"]) == (None, None, None)
            assert "item" not in why["detail"]

    # Events that the owner got while he could read them stay on record afterwards.
    await connection.execute("insert into location_foremen values ($1, $2)", UUID(place), foreman.token.user_id)
    await admin.make("/items", name="Another pump", location_id=place)
    event_id = await _created(connection)
    await drain(pool)
    await connection.execute("delete from location_foremen")
    assert (await _why(foreman, matching, event_id))["reason"] == "pending"


async def test_an_event_that_was_set_aside_says_why_to_an_admin_only(
    admin: Caller, api: Api, sign_up: SignUp, pool: Pool, connection: Connection
) -> None:
    worker = Caller(api, await sign_up("worker"))
    webhook = await make_webhook(worker, url=NOWHERE)
    event_id = await connection.fetchval(
        "insert into outbox (type, data) values ('item-created', '{\"price\": 1.5}') returning id"
    )
    await drain(pool)
    for_admin = await _why(admin, webhook, event_id)
    assert (for_admin["reason"], for_admin["basis"], for_admin["delivered"]) == ("set_aside", "log", False)
    assert "data.price is a number that is not an integer" in for_admin["detail"]
    assert for_admin["at"]
    for_worker = await _why(worker, webhook, event_id)
    assert (for_worker["reason"], for_worker["event"]["eventType"]) == ("set_aside", None)
    assert "price" not in for_worker["detail"]


async def test_a_user_asks_about_their_own_webhooks_an_admin_about_all(
    admin: Caller, api: Api, sign_up: SignUp, pool: Pool, connection: Connection
) -> None:
    owner, stranger = Caller(api, await sign_up("worker")), Caller(api, await sign_up("supervisor"))
    webhook, gone = await make_webhook(owner, url=NOWHERE), await make_webhook(owner, url=NOWHERE)
    await owner.delete(f"/webhooks/{gone['id']}")
    await admin.make("/items", name="Pump")
    event_id = await _created(connection)
    await drain(pool)
    path = f"/events/{event_id}/explain"

    for caller in (owner, admin):
        assert (await _why(caller, webhook, event_id))["reason"] == "pending"
        for unknown in (new_id(), "not-an-id"):
            assert (await caller.get(f"/events/{unknown}/explain", webhook=webhook["id"])).status == 404
        for absent in (gone["id"], str(new_id())):
            assert (await caller.get(path, webhook=absent)).status == 404
    assert (await stranger.get(path, webhook=webhook["id"])).status == 403
    for query in ({}, {"webhook": "x"}):
        refused = await owner.get(path, **query)
        assert (refused.status, refused.pointers) == (400, ["?webhook"])
    async with api.get(f"/api/v1{path}?webhook={webhook['id']}") as response:
        assert response.status == 401
