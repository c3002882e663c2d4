"""Where a webhook's deliveries stand in the order of their items. Each step is part of its caller's transaction, which has
locked the webhook."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from service.platform.queries import Connection, load

_SQL = load("order")
MOST_BLOCKED = 10_000


@dataclass(frozen=True, slots=True)
class Place:
    """`blocks`: the item's later events wait until this delivery is retried or skipped."""

    item_id: UUID
    blocks: bool


async def lock_delivery(connection: Connection, webhook_id: UUID, position: int, event_at: datetime) -> Place | None:
    """Locks the item of a delivery that has ended; None where that stands in no order."""
    row = await _SQL.lock_delivery.fetchrow(connection, webhook_id=webhook_id, position=position, event_at=event_at)
    return None if row is None else Place(row["item_id"], row["blocks"])


async def put_back(connection: Connection, webhook_id: UUID, position: int, place: Place) -> None:
    """It waits again, with its old number: for its turn, which it has at once if nothing of its item is due."""
    if place.blocks:
        await _SQL.unblock.execute(connection, webhook_id=webhook_id, position=position)
    await _promote(connection, [webhook_id], [place.item_id])


async def skip(connection: Connection, webhook_id: UUID, place: Place, why: str) -> None:
    await _skip(connection, [webhook_id], [place.item_id], why)


async def skip_all(connection: Connection, webhook_id: UUID, why: str) -> bool:
    """Whatever blocks an item of this webhook; False if nothing does."""
    rows = await _SQL.lock_blocked.fetch(connection, webhook_id=webhook_id)
    if rows:
        await _skip(connection, [webhook_id] * len(rows), [row["item_id"] for row in rows], why)
    return bool(rows)


async def count_blocked(connection: Connection, webhook_id: UUID) -> int:
    """How many of its items are blocked; counted up to MOST_BLOCKED."""
    count: int = await _SQL.count_blocked.fetchval(connection, webhook_id=webhook_id, most=MOST_BLOCKED)
    return count


async def _skip(connection: Connection, webhook_ids: list[UUID], item_ids: list[UUID], why: str) -> None:
    await _SQL.skip.execute(connection, webhook_ids=webhook_ids, item_ids=item_ids, why=why)
    await _promote(connection, webhook_ids, item_ids)


async def _promote(connection: Connection, webhook_ids: list[UUID], item_ids: list[UUID]) -> None:
    await _SQL.promote.fetch(connection, webhook_ids=webhook_ids, item_ids=item_ids)
