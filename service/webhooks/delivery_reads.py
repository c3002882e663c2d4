"""Reading the deliveries of a webhook, and their counts."""

from typing import Literal
from uuid import UUID

from service.api.call import Principal
from service.api.counts import MOST, Total
from service.platform.db import Pool
from service.platform.errors import Gone, NotFound
from service.platform.queries import Connection, load
from service.webhooks.access import NO_DELIVERY, own
from service.webhooks.attempts import MOST_ATTEMPTS, DeliveryDetail, delivery_detail
from service.webhooks.replies import EventsReply
from service.webhooks.shapes import Stats, delivery, statistics
from service.webhooks.stream_cursor import LOST

_SQL = load("webhooks")
Status = Literal["pending", "success", "failed"]


async def list_deliveries(
    pool: Pool,
    user: Principal,
    webhook_id: UUID,
    ttl_seconds: int,
    *,
    status: Status | None,
    before: int,
    event_id: UUID | None,
    skip: int,
    limit: int,
) -> tuple[EventsReply, list[tuple[int, UUID]]]:
    """A page of deliveries, newest event first, and the position and event id of each. The page
    begins before the position `before`. The total is read in the same snapshot.

    `event_id` is the event that the client saw at `before`. Raises Gone if the log has another one
    there, or none, and NotFound, Forbidden."""
    async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        own(await _SQL.get.fetchrow(connection, id=webhook_id), user)
        if event_id is not None and await _SQL.is_another.fetchval(connection, position=before, event_id=event_id):
            raise Gone(LOST.format(what="this cursor", go_on="Begin anew, without ?cursor"))
        current, pending = await _current(connection, webhook_id, ttl_seconds)
        rows = await _SQL.list_deliveries.fetch(
            connection,
            webhook_id=webhook_id,
            ttl_seconds=ttl_seconds,
            before=before,
            skip=skip,
            limit=limit,
            role=user.role,
            user_id=user.user_id,
            **{f"with_{name}": status in {None, name} for name in current},
        )
    total = sum(count for name, count in current.items() if status in {None, name})
    page: EventsReply = {"events": [delivery(row) for row in rows], "total": total, "skip": skip, "limit": limit}
    if pending.is_minimum and status in {None, "pending"}:
        page["totalIsMinimum"] = True
    return page, [(row["position"], row["event_id"]) for row in rows]


async def get_delivery(pool: Pool, user: Principal, webhook_id: UUID, event_id: UUID) -> DeliveryDetail:
    """The delivery of one event with its latest attempts, oldest first. Raises NotFound,
    Forbidden."""
    async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        own(await _SQL.get.fetchrow(connection, id=webhook_id), user)
        row = await _SQL.get_delivery.fetchrow(
            connection, webhook_id=webhook_id, event_id=event_id, role=user.role, user_id=user.user_id
        )
        if row is None:
            raise NotFound(NO_DELIVERY)
        attempts = await _SQL.list_attempts.fetch(
            connection,
            webhook_id=webhook_id,
            position=row["position"],
            event_at=row["event_at"],
            most=MOST_ATTEMPTS + 1,
        )
    return await delivery_detail(row, attempts)


async def stats(pool: Pool, user: Principal, webhook_id: UUID, ttl_seconds: int) -> Stats:
    async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        own(await _SQL.get.fetchrow(connection, id=webhook_id), user)
        lifetime = statistics(await _SQL.statistics.fetchrow(connection, ids=[webhook_id]))
        current, pending = await _current(connection, webhook_id, ttl_seconds)
    found: Stats = {
        "totalEvents": lifetime["totalEvents"],
        "successfulDeliveries": lifetime["successfulDeliveries"],
        "failedDeliveries": lifetime["failedDeliveries"],
        "successCount": current["success"],
        "failedCount": current["failed"],
        "pendingCount": current["pending"],
        "successRate": lifetime["successRate"],
        "lastDelivery": lifetime["lastDelivery"],
        "lastFailure": lifetime["lastFailure"],
    }
    if pending.is_minimum:
        found["pendingCountIsMinimum"] = True
    return found


async def _current(connection: Connection, webhook_id: UUID, ttl_seconds: int) -> tuple[dict[str, int], Total]:
    """How many deliveries have each status, and the number of pending ones once more as a Total.
    Only the pending ones are counted row by row, so only their number may be a minimum."""
    row = await _SQL.current.fetchrow(connection, webhook_id=webhook_id, ttl_seconds=ttl_seconds, most=MOST + 1)
    assert row is not None
    pending = Total.counted(row["pending"])
    return {"pending": pending.rows, "success": row["success"], "failed": row["failed"]}, pending
