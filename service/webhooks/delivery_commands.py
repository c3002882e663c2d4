"""The commands that retry a delivery, and that skip a failed one. Each is one transaction."""

from uuid import UUID

from service.api.call import Principal
from service.mutation import Mutation, command
from service.platform.errors import Conflict, NotFound
from service.platform.queries import load
from service.webhooks import order
from service.webhooks.access import ENTITY, NO_DELIVERY, own
from service.webhooks.shapes import Retried

_SQL = load("webhooks")


@command("retry")
async def retry(change: Mutation, user: Principal, webhook_id: UUID, event_id: UUID, ttl_seconds: int) -> Retried:
    """Puts a delivery that has ended back into the queue. Its retries are counted anew. If the
    breaker is open, the delivery is sent as its probe. Raises NotFound, Forbidden, Conflict."""
    webhook = own(await _SQL.lock.fetchrow(change, id=webhook_id), user)
    found = await _SQL.find_delivery.fetchrow(change, webhook_id=webhook_id, event_id=event_id, ttl_seconds=ttl_seconds)
    if found is None or not (found["pending"] or found["attempted"]):
        raise NotFound(NO_DELIVERY)
    if found["pending"]:
        raise Conflict("this event is pending: it will be sent without a retry")
    if found["expired"]:
        raise Conflict("this event is older than the history reaches and cannot be sent again")
    if found["position"] <= webhook["discard_through"] and not await _SQL.end_discard.fetchval(
        change, webhook_id=webhook_id
    ):
        raise Conflict("what was pending is still being discarded; try again in a moment")
    item = await order.lock_delivery(change, webhook_id, found["position"], found["event_at"])
    attempts = await _SQL.put_back.fetchval(
        change, webhook_id=webhook_id, position=found["position"], event_at=found["event_at"]
    )
    if attempts is None:
        # A relay has ended the delivery, or taken it up, since find_delivery read it.
        raise Conflict("this event's delivery is changing; look at it again")
    if item is not None:
        await order.put_back(change, webhook_id, found["position"], item)
    await _SQL.probe_with.execute(change, webhook_id=webhook_id, position=found["position"])
    await _SQL.wake_lane.execute(change, webhook_id=webhook_id)
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


@command("skip")
async def skip(change: Mutation, user: Principal, webhook_id: UUID, event_id: UUID, ttl_seconds: int) -> Retried:
    """Skips a failed delivery that blocks its item, so that the later events of the item follow.
    Raises NotFound, Forbidden, Conflict."""
    own(await _SQL.lock.fetchrow(change, id=webhook_id), user)
    found = await _SQL.find_delivery.fetchrow(change, webhook_id=webhook_id, event_id=event_id, ttl_seconds=ttl_seconds)
    if found is None or not (found["pending"] or found["attempted"]):
        raise NotFound(NO_DELIVERY)
    item = await order.lock_delivery(change, webhook_id, found["position"], found["event_at"])
    if item is None or not item.blocks:
        raise Conflict("this event blocks no item: no later event waits until it is retried or skipped")
    await order.skip(change, webhook_id, item, "skipped: its owner or an admin let the later events follow")
    await _SQL.wake_lane.execute(change, webhook_id=webhook_id)
    change.audit(ENTITY, webhook_id, None, {"eventId": event_id})
    row = await _SQL.get_delivery.fetchrow(
        change, webhook_id=webhook_id, event_id=event_id, role=user.role, user_id=user.user_id
    )
    assert row is not None, "what blocks an item is in the log"
    return {
        "id": str(event_id),
        "eventType": found["event_type"],
        "deliveryStatus": row["status"],
        "deliveryAttempts": row["attempt"],
        "message": "The event has been skipped; the later events of its item follow",
    }
