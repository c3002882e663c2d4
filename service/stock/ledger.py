"""The one way to change an item. All features use it.

A command locks the item, decides, and saves. Every change of a quantity is a movement in the
ledger, the table stock_moves, with its reason. An item's quantity is the sum of its movements.
"""

from collections.abc import Collection
from collections.abc import Set as AbstractSet
from typing import Any, Literal
from uuid import UUID

import asyncpg

from service.events.changes import diff
from service.mutation import Mutation
from service.platform.errors import BadRequest, Conflict, NotFound, Problem
from service.platform.queries import load
from service.stock.item import (
    COLUMNS,
    Item,
    check_quantities,
    created_events,
    deleted_event,
    item_from_row,
    item_view,
    updated_events,
)

_SQL = load("stock")
ENTITY = "item"
_REFUSED_BY_DATABASE = (asyncpg.UniqueViolationError, asyncpg.ForeignKeyViolationError)
# The reason of a movement. The last three go with the id of a transfer or checkout.
Reason = Literal["created", "counted", "transfer", "checkout", "checkin"]


async def create(change: Mutation, item: Item, *, reason: Reason = "created", reference_id: UUID | None = None) -> Item:
    """Stores a new item and emits its events. Returns the item with the database's times.
    `reference_id` is the transfer or checkout that made the item.

    Raises Unprocessable as `check_quantities` does, Conflict if the sku or serial number is taken,
    and BadRequest if the category or location does not exist."""
    check_quantities(item)
    try:
        [row] = await _SQL.insert.fetch(
            change.connection,
            **_values(item, without={"reserved_quantity"}),
            reason=reason,
            reference_id=reference_id,
        )
    except _REFUSED_BY_DATABASE as error:
        raise _refusal(error, item) from None
    created = item_from_row(row)
    for event in created_events(created):
        change.emit(event)
    change.audit(ENTITY, created.id, None, item_view(created))
    return created


async def lock(change: Mutation, item_id: UUID) -> Item:
    """The item. No other mutation can change it until this one ends. Raises NotFound."""
    row = await _SQL.lock.fetchrow(change.connection, id=item_id)
    if row is None:
        raise NotFound("no item has this id")
    return item_from_row(row)


async def lock_several(change: Mutation, item_ids: Collection[UUID]) -> dict[UUID, Item]:
    """Locks the items in the order of their ids, and returns those that exist. A mutation that
    needs several items must lock them by one call of this function. Otherwise two mutations may
    wait for each other."""
    rows = await _SQL.lock_several.fetch(change.connection, ids=list(item_ids))
    return {row["id"]: item_from_row(row) for row in rows}


async def save(
    change: Mutation, before: Item, after: Item, *, reason: Reason = "counted", reference_id: UUID | None = None
) -> Item:
    """Stores an item that this mutation has locked and changed, and emits its events. If nothing
    changed, it does nothing and returns `before`. Raises as `create` does.

    `reason` and `reference_id` belong to the movement. There is one if the quantity changed.
    `reference_id` is the transfer or checkout that changed it."""
    check_quantities(after)
    if not diff(item_view(before), item_view(after)):
        return before
    try:
        [row] = await _SQL.update.fetch(
            change.connection,
            **_values(after),
            delta=after.quantity - before.quantity,
            reason=reason,
            reference_id=reference_id,
        )
    except _REFUSED_BY_DATABASE as error:
        raise _refusal(error, after) from None
    for event in updated_events(before, after):
        change.emit(event)
    saved = item_from_row(row)
    change.audit(ENTITY, saved.id, item_view(before), item_view(saved))
    return saved


async def remove(change: Mutation, item: Item) -> None:
    """Removes an item that this mutation has locked. Raises Conflict while units of it are reserved
    or a checkout of it is open."""
    if item.reserved_quantity > 0:
        raise Conflict(f"{item.reserved_quantity} units of {item.name} are reserved, so it cannot be deleted")
    try:
        await _SQL.delete.execute(change.connection, id=item.id)
    except asyncpg.ForeignKeyViolationError:
        raise Conflict(f"a checkout of {item.name} is open, so it cannot be deleted") from None
    change.emit(deleted_event(item))
    change.audit(ENTITY, item.id, item_view(item), None)


def _values(item: Item, *, without: AbstractSet[str] = frozenset()) -> dict[str, Any]:
    """The columns that this service writes. The database writes the times."""
    return {name: getattr(item, name) for name in COLUMNS if name not in {"created_at", "updated_at"} | without}


def _refusal(error: asyncpg.PostgresError, item: Item) -> Problem | asyncpg.PostgresError:
    """The problem for a constraint that an item violates. The constraints decide, because another
    mutation could overtake a check before the write."""
    match error.constraint_name:
        case "items_sku_key":
            place = "at this location" if item.location_id else "among the items without a location"
            return Conflict.at("/sku", f"another item {place} has the sku {item.sku}")
        case "items_serial_number_key":
            return Conflict.at("/serial_number", f"another item has the serial number {item.serial_number}")
        case "items_category_id_fkey":
            return BadRequest.at("/category_id", f"no category has the id {item.category_id}")
        case "items_location_id_fkey":
            return BadRequest.at("/location_id", f"no location has the id {item.location_id}")
    return error
