"""Contract, section 3: a webhook's events, retries, statistics and tests, sentence by sentence."""

import pytest

from tests.support.contract.client import UNKNOWN_ID, Client
from tests.support.contract.ears import ONCE, Listen, answering, failed_event
from tests.support.formats import TIME


async def test_the_events_of_a_webhook_have_the_contracts_form(admin: Client, listen: Listen) -> None:
    """`GET /webhooks/:id/events` → `{events: [{id, eventType, data, deliveryStatus, …}], total,
    skip, limit}`"""
    ears = await listen(admin, ["item-created"])
    item = await admin.item(name="Of the contract ½")
    arrival = await ears.hear("item-created", itemId=item["id"])
    await ears.ended(arrival.event_id, "success")
    page = await admin.get(f"/webhooks/{ears.id}/events")
    assert list(page) == ["events", "total", "skip", "limit"]
    assert (page["total"], page["skip"], page["limit"]) == (1, 0, 50)
    (event,) = page["events"]
    assert {
        "id",
        "eventType",
        "data",
        "deliveryStatus",
        "deliveryAttempts",
        "lastAttempt",
        "nextRetry",
        "httpResponse",
        "error",
        "createdAt",
    } <= set(event)
    assert event["id"] == arrival.event_id
    assert list(event["data"].items()) == list(arrival.envelope["data"].items())
    assert (event["deliveryStatus"], event["deliveryAttempts"], event["nextRetry"]) == ("success", 1, None)
    assert event["httpResponse"] == {"statusCode": 200, "body": "ok"}
    assert event["createdAt"] == arrival.envelope["timestamp"]
    assert TIME.fullmatch(event["lastAttempt"])


async def test_the_events_are_paged_newest_first_and_filtered_by_status(admin: Client, listen: Listen) -> None:
    """`?status=pending|success|failed&skip=0&limit=50` … newest first"""
    ears = await listen(admin, ["item-created"], answer=answering(500, 200), retryPolicy=ONCE)
    failed = (await failed_event(admin, ears))["id"]
    delivered = []
    for _ in range(2):
        item = await admin.item()
        delivered.append((await ears.hear("item-created", itemId=item["id"])).event_id)
        await ears.ended(delivered[-1], "success")

    async def page(query: str) -> tuple[list[str], int]:
        found = await admin.get(f"/webhooks/{ears.id}/events?{query}")
        return [event["id"] for event in found["events"]], found["total"]

    assert await page("") == ([*reversed(delivered), failed], 3)
    assert await page("skip=1&limit=1") == ([delivered[0]], 3)
    assert await page("status=success") == (delivered[::-1], 2)
    assert await page("status=failed") == ([failed], 1)
    assert await page("status=pending") == ([], 0)


@pytest.mark.parametrize("query", ["status=unknown", "limit=0", "limit=201", "skip=-1", "limit=x"])
async def test_a_bad_query_of_the_events_is_refused(owner: Client, query: str) -> None:
    """`?status=pending|success|failed&skip=0&limit=50`"""
    made = await owner.webhook("https://receiver.invalid/in", ["item-created"])
    (await owner.ask("GET", f"/webhooks/{made['id']}/events?{query}")).problem(400, f"?{query.partition('=')[0]}")


async def test_an_event_that_waits_for_its_retry_shows_when(admin: Client, listen: Listen) -> None:
    """deliveryStatus pending, with nextRetry"""
    policy = {"maxRetries": 1, "retryDelay": 60000}
    ears = await listen(admin, ["item-created"], answer=answering(500), retryPolicy=policy)
    item = await admin.item()
    arrival = await ears.hear("item-created", itemId=item["id"])
    while (event := await ears.ended(arrival.event_id, "pending"))["deliveryAttempts"] == 0:
        pass
    assert event["deliveryAttempts"] == 1
    assert TIME.fullmatch(event["nextRetry"])
    assert event["httpResponse"]["statusCode"] == 500
    (await admin.ask("POST", f"/webhooks/{ears.id}/events/{arrival.event_id}/retry")).problem(409)


async def test_a_failed_event_is_retried_with_a_fresh_policy(admin: Client, listen: Listen) -> None:
    """`POST …/retry` (from success or failed; a fresh policy) → `{event: {id, eventType,
    deliveryStatus: "pending", …}}`"""
    policy = {"maxRetries": 1, "retryDelay": 100}
    ears = await listen(admin, ["item-created"], answer=answering(500, 500, 500, 200), retryPolicy=policy)
    failed = await failed_event(admin, ears)
    assert failed["deliveryAttempts"] == 2
    answer = await admin.post(f"/webhooks/{ears.id}/events/{failed['id']}/retry", status=200)
    assert set(answer) == {"event"}
    event = answer["event"]
    assert {"id", "eventType", "deliveryStatus", "deliveryAttempts", "message"} <= set(event)
    assert (event["id"], event["eventType"]) == (failed["id"], "item-created")
    assert (event["deliveryStatus"], event["deliveryAttempts"]) == ("pending", 2)
    ended = await ears.ended(failed["id"], "success")
    assert ended["deliveryAttempts"] == 4


async def test_retrying_what_does_not_exist_is_404(admin: Client, listen: Listen) -> None:
    """`:eventId` is the event's id"""
    ears, other = await listen(admin, ["item-created"]), await listen(admin, ["item-deleted"])
    item = await admin.item()
    arrival = await ears.hear("item-created", itemId=item["id"])
    (await admin.ask("POST", f"/webhooks/{ears.id}/events/{UNKNOWN_ID}/retry")).problem(404)
    (await admin.ask("POST", f"/webhooks/{other.id}/events/{arrival.event_id}/retry")).problem(404)


async def test_the_statistics_count_ends_and_statuses(admin: Client, listen: Listen) -> None:
    """`GET /webhooks/:id/stats`: lifetime counts of ended deliveries, and current statuses; a retry
    moves one."""
    ears = await listen(admin, ["item-created"], answer=answering(500, 200), retryPolicy=ONCE)
    path = f"/webhooks/{ears.id}/stats"
    none = await admin.get(path)
    assert none == {
        "stats": {
            "totalEvents": 0,
            "successfulDeliveries": 0,
            "failedDeliveries": 0,
            "successCount": 0,
            "failedCount": 0,
            "pendingCount": 0,
            "successRate": "0.00",
            "lastDelivery": None,
            "lastFailure": None,
        }
    }
    failed = await failed_event(admin, ears)
    item = await admin.item()
    await ears.ended((await ears.hear("item-created", itemId=item["id"])).event_id, "success")
    stats = (await admin.get(path))["stats"]
    assert [stats[name] for name in list(stats)[:7]] == [2, 1, 1, 1, 1, 0, "50.00"]
    assert TIME.fullmatch(stats["lastDelivery"])
    assert TIME.fullmatch(stats["lastFailure"])

    await admin.put(f"/webhooks/{ears.id}", {"active": False})
    await admin.post(f"/webhooks/{ears.id}/events/{failed['id']}/retry")
    stats = (await admin.get(path))["stats"]
    assert [stats[name] for name in list(stats)[:7]] == [2, 1, 1, 1, 0, 1, "50.00"]
    await admin.put(f"/webhooks/{ears.id}", {"active": True})
    await ears.ended(failed["id"], "success")
    stats = (await admin.get(path))["stats"]
    assert [stats[name] for name in list(stats)[:7]] == [3, 2, 1, 2, 0, 0, "66.67"]


@pytest.mark.parametrize(("status", "success"), [(200, True), (204, True), (302, False), (500, False)])
async def test_a_test_says_what_the_receiver_answered(
    admin: Client, listen: Listen, status: int, success: bool
) -> None:
    """`POST /webhooks/:id/test` → 200 `{success, statusCode, message, error?}`; `eventType` is
    `test`; one attempt"""
    ears = await listen(admin, ["item-created"], answer=answering(status))
    other = await listen(admin, ["item-created"])
    result = await admin.post(f"/webhooks/{ears.id}/test", status=200)
    assert (result["success"], result["statusCode"]) == (success, status)
    assert result["message"]
    assert ("error" in result) is not success
    (arrival,) = ears.receiver.arrivals
    assert arrival.envelope["eventType"] == arrival.headers["X-Event-Type"] == "test"
    assert arrival.envelope["attempt"] == 1
    assert other.receiver.arrivals == []
    assert (await admin.get(f"/webhooks/{ears.id}/stats"))["stats"]["totalEvents"] == 0
    assert (await admin.get(f"/webhooks/{ears.id}/events"))["total"] == 0


async def test_a_test_reaches_an_inactive_webhook(admin: Client, listen: Listen) -> None:
    """past breaker, queue and `active`"""
    ears = await listen(admin, ["item-created"])
    await admin.put(f"/webhooks/{ears.id}", {"active": False})
    assert (await admin.post(f"/webhooks/{ears.id}/test"))["success"] is True


async def test_a_test_without_a_receiver_says_why(admin: Client) -> None:
    """`success: false` and why"""
    webhook = await admin.webhook("http://127.0.0.1:1/", ["item-created"])
    result = await admin.post(f"/webhooks/{webhook['id']}/test", status=200)
    assert (result["success"], result["statusCode"]) == (False, None)
    assert result["error"]
    await admin.delete(f"/webhooks/{webhook['id']}")
