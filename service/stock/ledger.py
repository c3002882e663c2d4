"""The one way to change an item. All features use it.

A command reads the item, decides, and saves. Every change of a quantity is a movement in the
ledger, the table stock_moves, with its reason. An item's quantity is the sum of its movements.
"""

from collections.abc import Collection
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Any, Literal
from uuid import UUID

import asyncpg

from service.events.changes import diff
from service.mutation import Mutation
from service.platform.errors import BadRequest, Conflict, NotFound
from service.platform.queries import load
from service.stock.item import (
    COLUMNS,
    Item,
    check_quantities,
    created_events,
    deleted_event,
    item_from_row,
    updated_events,
)

_SQL = load("stock")
ENTITY = "item"
# The reason of a movement. The last three go with the id of a transfer or checkout.
Reason = Literal["created", "counted", "transfer", "checkout", "checkin"]


def create(
    change: Mutation,
    item: Item,
    *,
    reason: Reason = "created",
    reference_id: UUID | None = None,
    taken: Conflict | None = None,
) -> Item:
    """Stores a new item and emits its events. Returns it with its times.

    `reference_id` is the transfer or checkout that made the item. `taken` is the problem if its sku
    or serial number is taken, in place of one that names the field.

    Raises Unprocessable as `check_quantities` does. The mutation raises Conflict if the sku or
    serial number is taken, and BadRequest if the category or location does not exist."""
    check_quantities(item)
    created = replace(item, created_at=change.now, updated_at=change.now)
    change.write(
        _SQL.insert,
        refused=lambda error: _refusal(error, created, taken),
        **_columns(created, without={"reserved_quantity"}),
        reason=reason,
        reference_id=reference_id,
    )
    for event in created_events(created):
        change.emit(event)
    change.audit(ENTITY, created.id, None, created.view)
    return created


async def read(change: Mutation, item_id: UUID) -> Item:
    """The item, which this mutation may change. Raises NotFound."""
    row = await change.read(_SQL.get, _SQL.lock, id=item_id)
    if row is None:
        raise NotFound("no item has this id")
    return item_from_row(row)


async def lock_several(change: Mutation, item_ids: Collection[UUID]) -> dict[UUID, Item]:
    """Locks the items in the order of their ids, and returns those that exist. A mutation that
    needs several items must lock them by one call of this function. Otherwise two mutations may
    wait for each other."""
    return {row["id"]: item_from_row(row) for row in await change.lock_several(_SQL.lock_several, ids=list(item_ids))}


def save(
    change: Mutation, before: Item, after: Item, *, reason: Reason = "counted", reference_id: UUID | None = None
) -> Item:
    """Stores an item that this mutation has read and changed, and emits its events. Returns it with
    its new time. If nothing changed, it does nothing and returns `before`. Raises as `create` does.

    `reason` and `reference_id` belong to the movement. There is one if the quantity changed.
    `reference_id` is the transfer or checkout that changed it."""
    check_quantities(after)
    saved = replace(after, updated_at=change.later_than(before.updated_at))
    changes = diff(before.view, saved.view)
    if not changes:
        return before
    change.write(
        _SQL.update,
        refused=lambda error: _refusal(error, saved),
        **_columns(saved, without={"created_at"}),
        delta=saved.quantity - before.quantity,
        reason=reason,
        reference_id=reference_id,
    )
    for event in updated_events(before, saved, changes):
        change.emit(event)
    change.audit(ENTITY, saved.id, before.view, saved.view)
    return saved


def remove(change: Mutation, item: Item) -> None:
    """Removes an item that this mutation has read. Raises Conflict while units of it are reserved
    or a checkout of it is open."""
    if item.reserved_quantity > 0:
        raise Conflict(f"{item.reserved_quantity} units of {item.name} are reserved, so it cannot be deleted")
    change.write(_SQL.delete, refused=lambda error: _lent(error, item), id=item.id)
    change.emit(deleted_event(item))
    change.audit(ENTITY, item.id, item.view, None)


def _columns(item: Item, *, without: AbstractSet[str]) -> dict[str, Any]:
    return {name: getattr(item, name) for name in COLUMNS if name not in without}


def _lent(error: asyncpg.IntegrityConstraintViolationError, item: Item) -> Exception:
    if isinstance(error, asyncpg.ForeignKeyViolationError):
        return Conflict(f"a checkout of {item.name} is open, so it cannot be deleted")
    return error


def _refusal(error: asyncpg.IntegrityConstraintViolationError, item: Item, taken: Conflict | None = None) -> Exception:
    """The problem for a constraint that an item violates. The constraints decide, because another
    mutation could overtake a check before the write."""
    match error.constraint_name:
        case "items_sku_key":
            place = "at this location" if item.location_id else "among the items without a location"
            return taken or Conflict.at("/sku", f"another item {place} has the sku {item.sku}")
        case "items_serial_number_key":
            return taken or Conflict.at("/serial_number", f"another item has the serial number {item.serial_number}")
        case "items_category_id_fkey":
            return BadRequest.at("/category_id", f"no category has the id {item.category_id}")
        case "items_location_id_fkey":
            return BadRequest.at("/location_id", f"no location has the id {item.location_id}")
    return error
