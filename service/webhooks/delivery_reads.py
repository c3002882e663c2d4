"""What became of a webhook's events."""

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
    """A page, newest event first, of those before a position, at which this event is to stand; and their positions with their ids.
    The total is that of the same moment. Raises Gone."""
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
    """One event's delivery with its latest attempts, in their order. Raises NotFound."""
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
    """How many there are of each status, and once more those that wait: all that is counted row by row."""
    row = await _SQL.current.fetchrow(connection, webhook_id=webhook_id, ttl_seconds=ttl_seconds, most=MOST + 1)
    assert row is not None
    pending = Total.counted(row["pending"])
    return {"pending": pending.rows, "success": row["success"], "failed": row["failed"]}, pending
