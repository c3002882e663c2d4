"""The API and a real relay: the relay takes up what the API writes, and the API shows the
results."""

import asyncio
from typing import Any

from aiohttp import web
from standardwebhooks import Webhook as StandardWebhook

from service.delivery import sign
from tests.support.api.caller import Caller
from tests.support.database import Connection
from tests.support.receivers.receiver import Arrival, Receiver
from tests.support.relay.processes import Relays
from tests.support.waiting import until


async def _make(admin: Caller, url: str, *events: str, **fields: Any) -> dict[str, Any]:
    policy = {"maxRetries": 0, "retryDelay": 100}
    created = await admin.make(
        "/webhooks", **{"url": url, "events": events, "retryPolicy": policy, "timeout": 5000, **fields}
    )
    webhook: dict[str, Any] = created["webhook"]
    return webhook


async def _refuse(_: Arrival) -> web.StreamResponse:
    return web.Response(status=500, text="not now")


async def test_a_change_is_delivered_and_a_failure_is_retried_and_read_back(
    admin: Caller, relays: Relays, receiver: Receiver
) -> None:
    webhook = await _make(
        admin, f"{receiver.url}/hook", "low-stock-alert", filters={"minStockThreshold": 5}, headers={"X-Key": "k"}
    )
    path = f"/webhooks/{webhook['id']}"
    receiver.answer = _refuse
    await relays.start()
    await admin.make("/items", name="Pump ½ 漢字", quantity=5, min_quantity=10)
    await admin.make("/items", name="Pump ½ 漢字", quantity=4, min_quantity=10, sku="P-4")

    async def failed() -> Any:
        return (await admin.get(f"{path}/events", status="failed")).body["events"]

    await until(failed, "the delivery has failed")
    (event,) = await failed()
    assert event["data"]["currentStock"] == 4
    assert (event["deliveryAttempts"], event["httpResponse"]) == (1, {"statusCode": 500, "body": "not now"})
    assert event["error"] == "the receiver answered 500"

    async def accept(_: Arrival) -> web.StreamResponse:
        return web.json_response({"received": True})

    receiver.answer = accept
    answer = await admin.post(f"{path}/events/{event['id']}/retry", None)
    assert (answer.status, answer.body["event"]["deliveryStatus"]) == (200, "pending")
    await receiver.wait_for(lambda: len(receiver.arrivals) == 2)
    await relays.idle()

    first, second = receiver.arrivals
    assert first.event_id == second.event_id == event["id"]
    assert [arrival.envelope["attempt"] for arrival in (first, second)] == [1, 2]
    assert second.headers["X-Key"] == "k"
    assert second.headers["X-Webhook-ID"] == webhook["id"]
    StandardWebhook(webhook["secret"]).verify(second.body, dict(second.headers))
    data = second.body[second.body.index(b'"data":') + 7 : second.body.rindex(b',"timestamp"')]
    assert second.headers["X-Webhook-Signature"] == sign.sign_data(webhook["secret"], data)
    (shown,) = (await admin.get(f"{path}/events")).body["events"]
    assert (shown["deliveryStatus"], shown["deliveryAttempts"]) == ("success", 2)
    assert shown["httpResponse"] == {"statusCode": 200, "body": '{"received": true}'}
    stats = (await admin.get(f"{path}/stats")).body["stats"]
    assert (stats["totalEvents"], stats["successfulDeliveries"], stats["failedDeliveries"]) == (2, 1, 1)
    assert (stats["successCount"], stats["failedCount"], stats["pendingCount"], stats["successRate"]) == (
        1,
        0,
        0,
        "50.00",
    )


async def test_a_test_reaches_the_receiver_even_of_a_parked_webhook(
    admin: Caller, relays: Relays, receiver: Receiver
) -> None:
    # No poll wakes the relay, so it learnt of this event from the doorbell.
    await relays.start(RELAY_POLL_INTERVAL="3600000")
    webhook = await _make(admin, receiver.url, "item-created")
    path = f"/webhooks/{webhook['id']}"
    await admin.put(path, {"active": False})
    answer = await admin.post(f"{path}/test", None)
    assert (answer.status, answer.body["success"], answer.body["statusCode"]) == (200, True, 200)
    receiver.answer = _refuse
    answer = await admin.post(f"{path}/test", None)
    assert (answer.body["success"], answer.body["statusCode"]) == (False, 500)
    assert answer.body["error"] == "the receiver answered 500"
    for arrival in receiver.arrivals:
        assert arrival.headers["X-Event-Type"] == arrival.envelope["eventType"] == "test"
        StandardWebhook(webhook["secret"]).verify(arrival.body, dict(arrival.headers))
    assert (await admin.get(f"{path}/stats")).body["stats"]["totalEvents"] == 0

    unreachable = await _make(admin, "http://127.0.0.1:1/", "item-created")
    answer = await admin.post(f"/webhooks/{unreachable['id']}/test", None)
    assert (answer.body["success"], answer.body["statusCode"]) == (False, None)
    assert answer.body["error"]


async def test_what_was_parked_is_delivered_when_it_is_resumed_unless_it_is_discarded(
    admin: Caller, relays: Relays, receiver: Receiver, connection: Connection
) -> None:
    # The first attempt of each fails, so some deliveries are pending while the webhook is parked.
    receiver.answer = _refuse
    kept, discarded, deleted = [
        await _make(
            admin, f"{receiver.url}/{name}", "category-created", retryPolicy={"maxRetries": 20, "retryDelay": 60000}
        )
        for name in ("kept", "discarded", "deleted")
    ]
    await relays.start(RELAY_POLL_INTERVAL="3600000")
    await admin.make("/categories", name="Pumps")
    await receiver.wait_for(lambda: len(receiver.arrivals) == 3)

    async def waiting() -> bool:
        count: int = await connection.fetchval(
            "select count(*) from deliveries where attempts = 1 and leased_by is null"
        )
        return count == 3

    await until(waiting, "all three wait for their retry")
    await admin.put(f"/webhooks/{kept['id']}", {"active": False})
    await admin.put(f"/webhooks/{discarded['id']}", {"active": False})
    await connection.execute("update deliveries set next_attempt_at = now()")
    receiver.answer = lambda _: asyncio.sleep(0, web.Response())
    await admin.put(f"/webhooks/{discarded['id']}", {"active": True, "pending": "discard"})
    await admin.delete(f"/webhooks/{deleted['id']}")
    await admin.put(f"/webhooks/{kept['id']}", {"active": True})
    await relays.idle()

    assert [arrival.path for arrival in receiver.arrivals[3:]] == ["/kept"]
    (shown,) = (await admin.get(f"/webhooks/{discarded['id']}/events")).body["events"]
    assert (shown["deliveryStatus"], shown["deliveryAttempts"]) == ("failed", 1)
    assert shown["error"] == "no longer wanted by its webhook"

    retried = await admin.post(f"/webhooks/{discarded['id']}/events/{shown['id']}/retry", None)
    assert retried.status == 200
    await receiver.wait_for(lambda: receiver.arrivals[-1].path == "/discarded")
    await relays.idle()
    (shown,) = (await admin.get(f"/webhooks/{discarded['id']}/events")).body["events"]
    assert (shown["deliveryStatus"], shown["deliveryAttempts"]) == ("success", 2)


async def test_a_trace_goes_on_from_the_request_to_each_attempt(
    admin: Caller, relays: Relays, receiver: Receiver, connection: Connection
) -> None:
    trace_id, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    await _make(admin, receiver.url, "category-created", retryPolicy={"maxRetries": 1, "retryDelay": 100})
    receiver.answer = _refuse
    await relays.start()
    await admin.sending(traceparent=f"00-{trace_id}-{parent}-01").make("/categories", name="traced")
    await receiver.wait_for(lambda: len(receiver.arrivals) == 2)
    found = [arrival.headers["traceparent"].split("-") for arrival in receiver.arrivals]
    assert [(version, trace, flags) for version, trace, _, flags in found] == 2 * [("00", trace_id, "01")]
    assert len({parent, *(own for _, _, own, _ in found)}) == 3

    receiver.arrivals.clear()
    await admin.sending(traceparent=f"00-{trace_id}-{parent}-01-x").make("/categories", name="not valid")
    await admin.make("/categories", name="not traced")
    await receiver.wait_for(lambda: len(set(receiver.ids())) == 2)
    assert not [arrival for arrival in receiver.arrivals if "traceparent" in {name.lower() for name in arrival.headers}]
