"""Contract, section 3, continued: one event's attempts, why an event was or was not delivered, and
schedules of retries."""

from typing import Any

import pytest

from tests.support.contract.client import UNKNOWN_ID, Client
from tests.support.contract.ears import Listen, answering
from tests.support.formats import TIME

URL, EVENTS = "https://receiver.invalid/in", ["item-created"]


async def test_an_event_shows_each_attempt(admin: Client, listen: Listen) -> None:
    """`GET /webhooks/:id/events/:eventId` gives the delivery with each attempt (secret values as
    `[set]`)"""
    policy = {"maxRetries": 1, "retryDelay": 100}
    headers = {"Authorization": "Bearer xyz"}
    ears = await listen(admin, ["item-created"], answer=answering(500, 200), retryPolicy=policy, headers=headers)
    item = await admin.item()
    arrival = await ears.hear("item-created", 2, itemId=item["id"])
    await ears.ended(arrival.event_id, "success")
    event = (await admin.get(f"/webhooks/{ears.id}/events/{arrival.event_id}"))["event"]
    assert (event["id"], event["deliveryStatus"], event["deliveryAttempts"]) == (arrival.event_id, "success", 2)
    first, second = event["attempts"]
    assert [first["attempt"], second["attempt"]] == [1, 2]
    assert [first["response"]["statusCode"], second["response"]["statusCode"]] == [500, 200]
    assert first["response"]["body"] == "so it answered"
    assert second["request"]["body"].encode() == arrival.body
    assert second["request"]["headers"]["Authorization"] == "[set]"
    assert "xyz" not in str(event)
    assert arrival.headers["X-Webhook-Signature"] not in str(event)
    for attempt in (first, second):
        assert TIME.fullmatch(attempt["startedAt"])
        assert attempt["timings"]["total"] > 0
    (await admin.ask("GET", f"/webhooks/{ears.id}/events/{UNKNOWN_ID}")).problem(404)


async def test_explain_says_why(admin: Client, worker: Client, listen: Listen) -> None:
    """`GET /events/:id/explain?webhook=…`: not subscribed, filter (which), not readable, inactive,
    created later, …"""
    place = await admin.location()
    ears = await listen(admin, ["item-created", "user-login"])
    other_type = await listen(admin, ["item-deleted"])
    filtered = await listen(admin, ["item-created"], filters={"locations": [place]})
    inactive = await listen(admin, ["item-created"])
    await admin.put(f"/webhooks/{inactive.id}", {"active": False})
    failing = await listen(admin, ["item-created"], answer=answering(500), retryPolicy={"maxRetries": 0})
    waiting = await listen(
        admin, ["item-created"], answer=answering(500), retryPolicy={"maxRetries": 1, "retryDelay": 60000}
    )
    workers = await listen(worker, ["user-login"])
    item = await admin.item(location_id=await admin.location())
    event_id = (await ears.hear("item-created", itemId=item["id"])).event_id
    await ears.ended(event_id, "success")
    await failing.ended(event_id, "failed")
    while (await waiting.ended(event_id, "pending"))["deliveryAttempts"] == 0:
        pass
    assert admin.user is not None
    again = await admin.sign_in(admin.user.username)
    login_id = (await ears.hear("user-login", userId=admin.id)).event_id
    await again.post("/auth/logout")
    later = await listen(admin, ["item-created"])

    async def why(webhook_id: str, event: str = event_id) -> dict[str, Any]:
        found: dict[str, Any] = await admin.get(f"/events/{event}/explain?webhook={webhook_id}")
        assert found["detail"]
        return found

    assert (await why(ears.id))["reason"] == "delivered"
    assert (await why(other_type.id))["reason"] == "not_subscribed"
    held_back = await why(filtered.id)
    assert (held_back["reason"], held_back["filter"]["name"]) == ("filtered", "locations")
    assert (await why(inactive.id))["reason"] == "webhook_inactive"
    assert (await why(failing.id))["reason"] == "failed"
    pending = await why(waiting.id)
    assert pending["reason"] == "pending"
    assert TIME.fullmatch(pending["at"])
    assert (await why(later.id))["reason"] == "created_later"
    assert (await why(workers.id, login_id))["reason"] == "not_readable_by_owner"
    (await admin.ask("GET", f"/events/{UNKNOWN_ID}/explain?webhook={ears.id}")).problem(404)
    (await admin.ask("GET", f"/events/{event_id}/explain?webhook={UNKNOWN_ID}")).problem(404)
    (await admin.ask("GET", f"/events/{event_id}/explain")).problem(400, "?webhook")


@pytest.mark.parametrize("schedule", ["standard", [100], [86400000], [1000] * 20])
async def test_a_schedule_of_retries(owner: Client, schedule: Any) -> None:
    """`retryPolicy` also takes `"schedule"`: `"standard"` or a list of delays in ms"""
    webhook = await owner.webhook(URL, EVENTS, retryPolicy={"schedule": schedule})
    assert webhook["retryPolicy"]["schedule"] == schedule
    shown = (await owner.get(f"/webhooks/{webhook['id']}"))["webhook"]
    assert shown["retryPolicy"] == webhook["retryPolicy"]
    changed = await owner.put(f"/webhooks/{webhook['id']}", {"retryPolicy": {"schedule": None}})
    assert changed["webhook"]["retryPolicy"].get("schedule") is None


@pytest.mark.parametrize("schedule", ["daily", [], [99], [86400001], [1.5], [1000] * 21])
async def test_what_is_no_schedule_is_refused(owner: Client, schedule: Any) -> None:
    """`retryPolicy` also takes `"schedule"`"""
    body = {"url": URL, "events": EVENTS, "retryPolicy": {"schedule": schedule}}
    problem = (await owner.ask("POST", "/webhooks", body)).problem(400)
    assert problem["errors"][0]["pointer"].startswith("/retryPolicy/schedule")


async def test_a_schedule_is_kept_by_the_relay(admin: Client, listen: Listen) -> None:
    """`"schedule"`: a list of delays in ms"""
    ears = await listen(admin, ["item-created"], answer=answering(500, 500, 200), retryPolicy={"schedule": [100, 200]})
    item = await admin.item()
    arrival = await ears.hear("item-created", 3, itemId=item["id"])
    assert (await ears.ended(arrival.event_id, "success"))["deliveryAttempts"] == 3


async def test_a_webhook_may_carry_a_description(owner: Client) -> None:
    """a webhook may carry a `description`"""
    webhook = await owner.webhook(URL, EVENTS, description="For purchasing")
    assert webhook["description"] == "For purchasing"
    assert (await owner.get(f"/webhooks/{webhook['id']}"))["webhook"]["description"] == "For purchasing"
    body = {"url": URL, "events": EVENTS, "description": 7}
    (await owner.ask("POST", "/webhooks", body)).problem(400, "/description")
