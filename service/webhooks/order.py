"""The order of items in commands: putting a delivery back, and skipping failed ones.

Each change is part of the caller's transaction, which has locked the webhook's row.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from service.platform.queries import Executor, load

_SQL = load("order")
MOST_BLOCKED = 10_000


@dataclass(frozen=True, slots=True)
class Place:
    """The item in whose order a delivery is. If `blocks` is true, the later events of the item wait
    until this delivery is retried or skipped."""

    item_id: UUID
    blocks: bool


async def lock_delivery(connection: Executor, webhook_id: UUID, position: int, event_at: datetime) -> Place | None:
    """Locks the order of the item of a delivery that has ended. Returns None if the delivery is in
    no order."""
    row = await _SQL.lock_delivery.fetchrow(connection, webhook_id=webhook_id, position=position, event_at=event_at)
    return None if row is None else Place(row["item_id"], row["blocks"])


async def put_back(connection: Executor, webhook_id: UUID, position: int, place: Place) -> None:
    """Puts a delivery back into the order of its item, where it has its old number and waits for
    its turn. If the item has no head, the first of its pending deliveries becomes the head and is
    due."""
    if place.blocks:
        await _SQL.unblock.execute(connection, webhook_id=webhook_id, position=position)
    await _promote(connection, [webhook_id], [place.item_id])


async def skip(connection: Executor, webhook_id: UUID, place: Place, why: str) -> None:
    """Skips the delivery that blocks the item. `why` is logged as the error of its attempt."""
    await _skip(connection, [webhook_id], [place.item_id], why)


async def skip_all(connection: Executor, webhook_id: UUID, why: str) -> bool:
    """Skips every delivery that blocks an item of this webhook. Returns False if there is none."""
    rows = await _SQL.lock_blocked.fetch(connection, webhook_id=webhook_id)
    if rows:
        await _skip(connection, [webhook_id] * len(rows), [row["item_id"] for row in rows], why)
    return bool(rows)


async def count_blocked(connection: Executor, webhook_id: UUID) -> int:
    """How many items of the webhook are blocked, counted up to MOST_BLOCKED."""
    count: int = await _SQL.count_blocked.fetchval(connection, webhook_id=webhook_id, most=MOST_BLOCKED)
    return count


async def _skip(connection: Executor, webhook_ids: list[UUID], item_ids: list[UUID], why: str) -> None:
    await _SQL.skip.execute(connection, webhook_ids=webhook_ids, item_ids=item_ids, why=why)
    await _promote(connection, webhook_ids, item_ids)


async def _promote(connection: Executor, webhook_ids: list[UUID], item_ids: list[UUID]) -> None:
    await _SQL.promote.fetch(connection, webhook_ids=webhook_ids, item_ids=item_ids)
