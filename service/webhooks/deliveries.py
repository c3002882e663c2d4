"""What became of a webhook's events, and their manual retry."""

from typing import Literal
from uuid import UUID

from service.api.call import Principal
from service.api.counts import MOST, Total
from service.mutation import Origin, mutation
from service.platform.db import Pool
from service.platform.errors import Conflict, Gone, NotFound
from service.platform.queries import Connection, load
from service.webhooks import order
from service.webhooks.attempts import MOST_ATTEMPTS, DeliveryDetail, delivery_detail
from service.webhooks.commands import ENTITY, own
from service.webhooks.replies import EventsReply
from service.webhooks.shapes import Retried, Stats, delivery, statistics
from service.webhooks.stream_cursor import LOST

_SQL = load("webhooks")
_NOT_HERE = "this webhook has no event with this id, or it has been dropped from the history"
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
            raise NotFound(_NOT_HERE)
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


async def retry(
    pool: Pool, user: Principal, origin: Origin, webhook_id: UUID, event_id: UUID, ttl_seconds: int
) -> Retried:
    """Puts a delivery that ended back into the queue, with a fresh retry policy; past an open breaker, as its probe. Raises
    NotFound, Conflict."""
    async with mutation(pool, origin, "retry") as change:
        webhook = own(await _SQL.lock.fetchrow(change.connection, id=webhook_id), user)
        found = await _SQL.find_delivery.fetchrow(
            change.connection, webhook_id=webhook_id, event_id=event_id, ttl_seconds=ttl_seconds
        )
        if found is None or not (found["pending"] or found["attempted"]):
            raise NotFound(_NOT_HERE)
        if found["pending"]:
            raise Conflict("this event is pending: it will be sent without a retry")
        if found["expired"]:
            raise Conflict("this event is older than the history reaches and cannot be sent again")
        if found["position"] <= webhook["discard_through"] and not await _SQL.end_discard.fetchval(
            change.connection, webhook_id=webhook_id
        ):
            raise Conflict("what was pending is still being discarded; try again in a moment")
        item = await order.lock_delivery(change.connection, webhook_id, found["position"], found["event_at"])
        attempts = await _SQL.put_back.fetchval(
            change.connection, webhook_id=webhook_id, position=found["position"], event_at=found["event_at"]
        )
        if attempts is None:
            # A relay ended it, or took it up, since it was looked at.
            raise Conflict("this event's delivery is changing; look at it again")
        if item is not None:
            await order.put_back(change.connection, webhook_id, found["position"], item)
        await _SQL.probe_with.execute(change.connection, webhook_id=webhook_id, position=found["position"])
        await _SQL.wake_lane.execute(change.connection, webhook_id=webhook_id)
        change.audit(ENTITY, webhook_id, None, {"eventId": event_id})
    return {
        "id": str(event_id),
        "eventType": found["event_type"],
        "deliveryStatus": "pending",
        "deliveryAttempts": attempts,
        "message": "The event has been queued for delivery"
        if webhook["active"]
        else "The event has been queued and will be sent when the webhook is active",
    }


async def skip(
    pool: Pool, user: Principal, origin: Origin, webhook_id: UUID, event_id: UUID, ttl_seconds: int
) -> Retried:
    """Lets the later events of an item follow, which wait for this one that failed. Raises NotFound, Conflict."""
    async with mutation(pool, origin, "skip") as change:
        own(await _SQL.lock.fetchrow(change.connection, id=webhook_id), user)
        found = await _SQL.find_delivery.fetchrow(
            change.connection, webhook_id=webhook_id, event_id=event_id, ttl_seconds=ttl_seconds
        )
        if found is None or not (found["pending"] or found["attempted"]):
            raise NotFound(_NOT_HERE)
        item = await order.lock_delivery(change.connection, webhook_id, found["position"], found["event_at"])
        if item is None or not item.blocks:
            raise Conflict("this event blocks no item: no later event waits until it is retried or skipped")
        await order.skip(
            change.connection, webhook_id, item, "skipped: its owner or an admin let the later events follow"
        )
        await _SQL.wake_lane.execute(change.connection, webhook_id=webhook_id)
        change.audit(ENTITY, webhook_id, None, {"eventId": event_id})
        row = await _SQL.get_delivery.fetchrow(
            change.connection, webhook_id=webhook_id, event_id=event_id, role=user.role, user_id=user.user_id
        )
        assert row is not None, "what blocks an item is in the log"
    return {
        "id": str(event_id),
        "eventType": found["event_type"],
        "deliveryStatus": row["status"],
        "deliveryAttempts": row["attempt"],
        "message": "The event has been skipped; the later events of its item follow",
    }


async def _current(connection: Connection, webhook_id: UUID, ttl_seconds: int) -> tuple[dict[str, int], Total]:
    """How many there are of each status, and once more those that wait: all that is counted row by row."""
    row = await _SQL.current.fetchrow(connection, webhook_id=webhook_id, ttl_seconds=ttl_seconds, most=MOST + 1)
    assert row is not None
    pending = Total.counted(row["pending"])
    return {"pending": pending.rows, "success": row["success"], "failed": row["failed"]}, pending
