"""Statistics of a webhook, and the manual retry, which changes them."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

import orjson
import pytest
from aiohttp.test_utils import TestClient, TestServer

from service.platform.clock import iso
from service.platform.ids import new_id
from service.platform.settings import Settings
from service.server.app import make_app
from tests.support.api.caller import Caller, SignUp
from tests.support.api.webhooks import events_of, make_webhook, retry, stats_of
from tests.support.database import Connection, SomebodyWaits
from tests.support.relay.log import RelayLog

# Statistics


async def test_statistics_of_nothing_are_zero(owner: Caller, webhook_id: str) -> None:
    assert await stats_of(owner, webhook_id) == {
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


async def test_statistics_count_what_ended_and_what_is_pending(
    owner: Caller, webhook_id: str, log: RelayLog, connection: Connection
) -> None:
    for _ in range(49):
        await log.succeeded(webhook_id)
    await log.failed(webhook_id)
    await log.event(webhook_id)
    stats = await stats_of(owner, webhook_id)
    last = {
        row["status"]: iso(row["last_at"])
        for row in await connection.fetch("select status, last_at from delivery_counts")
    }
    assert stats == {
        "totalEvents": 50,
        "successfulDeliveries": 49,
        "failedDeliveries": 1,
        "successCount": 49,
        "failedCount": 1,
        "pendingCount": 1,
        "successRate": "98.00",
        "lastDelivery": last["success"],
        "lastFailure": last["failed"],
    }
    lifetime = {
        name: stats[name]
        for name in (
            "totalEvents",
            "successfulDeliveries",
            "failedDeliveries",
            "successRate",
            "lastDelivery",
            "lastFailure",
        )
    }
    (listed,) = (await owner.get("/webhooks")).body["webhooks"]
    assert listed["statistics"] == lifetime
    assert (await owner.get(f"/webhooks/{webhook_id}")).body["webhook"]["statistics"] == lifetime


async def test_what_expired_is_a_failure_and_what_was_cancelled_is_neither(
    owner: Caller, webhook_id: str, log: RelayLog
) -> None:
    await log.succeeded(webhook_id)
    await log.ended(webhook_id, "expired")
    await log.ended(webhook_id, "cancelled")
    stats = await stats_of(owner, webhook_id)
    assert (stats["totalEvents"], stats["successfulDeliveries"], stats["failedDeliveries"]) == (2, 1, 1)
    assert stats["successRate"] == "50.00"
    # The list shows a cancelled delivery as failed.
    assert stats["failedCount"] == (await events_of(owner, webhook_id, status="failed"))["total"] == 2


async def test_what_is_older_than_the_history_counts_for_ever_but_is_not_current(
    settings: Settings, database_url: str, sign_up: SignUp, log: RelayLog
) -> None:
    async with TestClient(
        TestServer(make_app(settings.model_copy(update={"webhook_event_ttl": 2 * 86_400}), database_url))
    ) as api:
        owner = Caller(api, await sign_up("worker"))
        webhook_id = (await make_webhook(owner))["id"]
        now = datetime.now(UTC)
        for days in (3, 4, 1):
            await log.partition(now - timedelta(days=days))
        dropped = await log.succeeded(webhook_id, at=now - timedelta(days=4))
        old = await log.failed(webhook_id, at=now - timedelta(days=3))
        recent = await log.failed(webhook_id, at=now - timedelta(days=1))

        stats = await stats_of(owner, webhook_id)
        assert (stats["totalEvents"], stats["successfulDeliveries"], stats["failedDeliveries"]) == (3, 1, 2)
        assert (stats["successCount"], stats["failedCount"], stats["successRate"]) == (0, 1, "33.33")
        page = await events_of(owner, webhook_id)
        assert ([shown["id"] for shown in page["events"]], page["total"]) == ([str(recent.id)], 1)

        for gone in (dropped, old):
            refused = await retry(owner, webhook_id, gone)
            assert refused.status == 409
            assert "older than the history" in refused.body["error"]
        assert (await retry(owner, webhook_id, recent)).status == 200


# Retry


async def test_a_failed_event_can_be_sent_again_under_a_fresh_policy(
    owner: Caller, webhook_id: str, log: RelayLog, connection: Connection
) -> None:
    event = await log.event(webhook_id)
    await log.attempt(webhook_id, event, "retry", status=500, error="the receiver answered 500")
    await log.attempt(webhook_id, event, "failed", status=500, error="the receiver answered 500")

    answer = await retry(owner, webhook_id, event)

    assert answer.status == 200
    retried = answer.body["event"]
    assert set(answer.body) == {"event"}
    assert retried.pop("message")
    assert retried == {
        "id": str(event.id),
        "eventType": "item-created",
        "deliveryStatus": "pending",
        "deliveryAttempts": 2,
    }
    row = await connection.fetchrow("select *, next_attempt_at <= now() as due from deliveries")
    assert row is not None
    assert (row["webhook_id"], row["position"], row["event_id"]) == (UUID(webhook_id), event.position, event.id)
    assert (row["event_type"], row["event_at"], row["due"]) == ("item-created", event.recorded_at, True)
    assert (row["attempts"], row["attempts_before"], row["fence"]) == (2, 2, None)
    assert await connection.fetchval("select array_agg(retried_at is not null order by attempt) from attempts") == [
        False,
        True,
    ]
    assert await connection.fetchval("select webhook_id from lane_wakes") == UUID(webhook_id)
    (shown,) = (await events_of(owner, webhook_id))["events"]
    assert (shown["deliveryStatus"], shown["deliveryAttempts"]) == ("pending", 2)
    assert shown["httpResponse"] == {"statusCode": 500, "body": ""}


@pytest.mark.parametrize(("outcome", "attempts"), [("success", 1), ("failed", 1), ("expired", 0), ("cancelled", 0)])
async def test_a_retry_moves_one_from_its_status_to_pending_and_leaves_the_lifetime_counts(
    outcome: str, attempts: int, owner: Caller, webhook_id: str, log: RelayLog
) -> None:
    event = await log.ended(webhook_id, outcome)
    before = await stats_of(owner, webhook_id)
    answer = await retry(owner, webhook_id, event)
    assert (answer.status, answer.body["event"]["deliveryAttempts"]) == (200, attempts)
    after = await stats_of(owner, webhook_id)
    name = "successCount" if outcome == "success" else "failedCount"
    assert before[name] == 1
    assert after == {**before, name: 0, "pendingCount": 1}

    await log.attempt(webhook_id, event, "success", status=200)
    again = await stats_of(owner, webhook_id)
    assert (again["successCount"], again["failedCount"], again["pendingCount"]) == (1, 0, 0)
    assert again["successfulDeliveries"] == before["successfulDeliveries"] + 1
    (shown,) = (await events_of(owner, webhook_id))["events"]
    assert (shown["deliveryStatus"], shown["deliveryAttempts"]) == ("success", attempts + 1)


async def test_the_count_is_taken_back_where_the_end_was_counted(
    owner: Caller, webhook_id: str, log: RelayLog, connection: Connection
) -> None:
    yesterday = datetime.now(UTC) - timedelta(days=1)
    await log.partition(yesterday)
    event = await log.failed(webhook_id, at=yesterday)
    await log.failed(webhook_id)
    assert (await retry(owner, webhook_id, event)).status == 200
    rows = await connection.fetch("select ended, current from delivery_counts order by day")
    assert [tuple(row) for row in rows] == [(1, 0), (1, 1)]


async def test_a_pending_event_is_not_sent_again(owner: Caller, webhook_id: str, log: RelayLog) -> None:
    event = await log.event(webhook_id)
    assert (await retry(owner, webhook_id, event)).status == 409
    await log.attempt(webhook_id, event, "retry", status=500)
    assert (await retry(owner, webhook_id, event)).status == 409
    await log.attempt(webhook_id, event, "failed", status=500)
    assert (await retry(owner, webhook_id, event)).status == 200
    assert (await retry(owner, webhook_id, event)).status == 409
    assert (await stats_of(owner, webhook_id))["pendingCount"] == 1


async def test_of_retries_at_the_same_time_one_is_taken(
    owner: Caller, webhook_id: str, log: RelayLog, connection: Connection
) -> None:
    event = await log.failed(webhook_id)
    answers = await asyncio.gather(*(retry(owner, webhook_id, event) for _ in range(8)))
    assert sorted(answer.status for answer in answers) == [200] + [409] * 7
    assert await connection.fetchval("select count(*) from deliveries") == 1
    assert await connection.fetchval("select current from delivery_counts") == 0


async def test_a_retry_that_meets_another_half_way_is_refused(
    owner: Caller, webhook_id: str, log: RelayLog, connection: Connection, somebody_waits: SomebodyWaits
) -> None:
    event = await log.failed(webhook_id)
    async with connection.transaction():
        await connection.execute("update attempts set retried_at = now()")
        waiting = asyncio.create_task(retry(owner, webhook_id, event))
        async with asyncio.timeout(30):
            await somebody_waits()
    assert (await waiting).status == 409


async def test_a_retry_does_not_wait_for_a_relay_that_counts_something_else(
    owner: Caller, webhook_id: str, log: RelayLog, connection: Connection
) -> None:
    event = await log.failed(webhook_id)
    async with connection.transaction():
        await connection.execute(
            "insert into delivery_counts (webhook_id, day, status, last_at) values ($1, '2020-01-01', 'failed', now())",
            webhook_id,
        )
        async with asyncio.timeout(30):
            assert (await retry(owner, webhook_id, event)).status == 200


async def test_what_a_webhook_never_had_cannot_be_retried(owner: Caller, webhook_id: str, log: RelayLog) -> None:
    elsewhere = await log.event()
    for path in (str(elsewhere.id), str(new_id()), "not-an-id"):
        assert (await owner.post(f"/webhooks/{webhook_id}/events/{path}/retry", None)).status == 404


async def test_an_event_whose_partition_was_dropped_cannot_be_retried(
    owner: Caller, webhook_id: str, log: RelayLog, connection: Connection
) -> None:
    event = await log.failed(webhook_id)
    await connection.execute("delete from events")
    refused = await retry(owner, webhook_id, event)
    assert refused.status == 404
    assert "history" in refused.body["error"]
    (shown,) = (await events_of(owner, webhook_id))["events"]
    assert (shown["id"], shown["data"]) == (str(event.id), None)


async def test_a_retry_of_a_parked_webhook_waits_for_it(owner: Caller, webhook_id: str, log: RelayLog) -> None:
    event = await log.failed(webhook_id)
    await owner.put(f"/webhooks/{webhook_id}", {"active": False})
    answer = await retry(owner, webhook_id, event)
    assert answer.status == 200
    assert "active" in answer.body["event"]["message"]


async def test_what_was_discarded_can_be_retried_once_the_rest_has_been_ended(
    owner: Caller, webhook_id: str, log: RelayLog, connection: Connection
) -> None:
    first, second = await log.event(webhook_id), await log.event(webhook_id)
    await owner.put(f"/webhooks/{webhook_id}", {"active": True, "pending": "discard"})
    await log.attempt(webhook_id, first, "cancelled", error="no longer wanted")
    assert (await retry(owner, webhook_id, first)).status == 409

    await log.attempt(webhook_id, second, "cancelled", error="no longer wanted")
    assert (await retry(owner, webhook_id, first)).status == 200
    # Otherwise the relay would take the retried delivery as discarded.
    assert await connection.fetchval("select discard_through from webhooks") == 0


async def test_a_retry_is_in_the_audit_trail(
    owner: Caller, webhook_id: str, log: RelayLog, connection: Connection
) -> None:
    event = await log.failed(webhook_id)
    await retry(owner, webhook_id, event)
    row = await connection.fetchrow("select actor_id, entity_id, after from audit where action = 'retry'")
    assert row is not None
    assert (row["actor_id"], row["entity_id"]) == (owner.token.user_id, UUID(webhook_id))
    assert orjson.loads(row["after"]) == {"eventId": str(event.id)}
