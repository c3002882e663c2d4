"""Items and their stock: the one way to change an item, whichever feature does it.

A command locks the item, decides, and saves; what follows from the change for receivers is derived here, so that a
count, a transfer and a checkout tell of it alike. Every change of a quantity goes into the ledger, stock_moves, with
its reason: an item's quantity is the sum of its entries there.
"""

from collections.abc import Collection
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, fields
from datetime import date, datetime
from typing import Any, Literal
from uuid import UUID

import asyncpg
import orjson
from typing_extensions import TypedDict

from service.changes import diff
from service.event_data import EventData
from service.events import ItemCreated, ItemDeleted, ItemUpdated, LowStockAlert
from service.mutation import Mutation
from service.platform.clock import iso
from service.platform.errors import BadRequest, Conflict, NotFound, Problem, Unprocessable
from service.platform.queries import load

_SQL = load("stock")
ENTITY = "item"
_REFUSED_BY_DATABASE = (asyncpg.UniqueViolationError, asyncpg.ForeignKeyViolationError)
# Why a quantity changed, as the ledger has it; with all but a creation and a count goes the id of the transfer or checkout.
Reason = Literal["created", "counted", "transfer", "checkout", "checkin"]


Condition = Literal["new", "excellent", "good", "fair", "poor", "damaged"]
ItemStatus = Literal["available", "checked_out", "maintenance", "retired", "lost"]


class ItemView(TypedDict):
    """An item as the API shows it."""

    id: str
    name: str
    sku: str | None
    serial_number: str | None
    description: str | None
    quantity: int
    reserved_quantity: int
    min_quantity: int
    condition: Condition
    status: ItemStatus
    purchase_date: str | None
    category_id: str | None
    location_id: str | None
    attributes: dict[str, Any]
    created_at: str
    updated_at: str


@dataclass(frozen=True, slots=True)
class Item:
    """An item as its row holds it. `attributes` is the text of a JSON object."""

    id: UUID
    name: str
    sku: str | None
    serial_number: str | None
    description: str | None
    quantity: int
    reserved_quantity: int
    min_quantity: int
    condition: Condition
    status: ItemStatus
    purchase_date: date | None
    category_id: UUID | None
    location_id: UUID | None
    attributes: str
    created_at: datetime
    updated_at: datetime


_COLUMNS = tuple(field.name for field in fields(Item))


def from_row(row: asyncpg.Record) -> Item:
    return Item(**{name: row[name] for name in _COLUMNS})


def view(item: Item) -> ItemView:
    return {
        "id": str(item.id),
        "name": item.name,
        "sku": item.sku,
        "serial_number": item.serial_number,
        "description": item.description,
        "quantity": item.quantity,
        "reserved_quantity": item.reserved_quantity,
        "min_quantity": item.min_quantity,
        "condition": item.condition,
        "status": item.status,
        "purchase_date": item.purchase_date.isoformat() if item.purchase_date else None,
        "category_id": str(item.category_id) if item.category_id else None,
        "location_id": str(item.location_id) if item.location_id else None,
        "attributes": orjson.loads(item.attributes),
        "created_at": iso(item.created_at),
        "updated_at": iso(item.updated_at),
    }


def check_quantities(item: Item) -> None:
    """Raises Unprocessable where the item's quantities, or its serial number, cannot stand together."""
    if item.quantity < item.reserved_quantity:
        raise Unprocessable.at(
            "/quantity",
            f"{item.reserved_quantity} units are reserved, so the quantity cannot be {item.quantity}",
        )
    if item.serial_number is not None and item.quantity > 1:
        raise Unprocessable.at("/serial_number", f"a serial number names one unit, and the quantity is {item.quantity}")


def low_stock(before: Item | None, after: Item) -> LowStockAlert | None:
    """The alert for a change of the stock or its minimum that left too little. `before` is None for a creation."""
    concerned = before is None or (before.quantity, before.min_quantity) != (after.quantity, after.min_quantity)
    if not concerned or after.quantity >= after.min_quantity:
        return None
    return LowStockAlert(
        itemId=after.id,
        name=after.name,
        sku=after.sku,
        currentStock=after.quantity,
        minStock=after.min_quantity,
        location_id=after.location_id,
        category_id=after.category_id,
        alert=f"Low stock: {after.name} has {after.quantity} left, minimum is {after.min_quantity}",
    )


def created_events(item: Item) -> list[EventData]:
    return _with_alert(
        ItemCreated(
            itemId=item.id,
            name=item.name,
            sku=item.sku,
            quantity=item.quantity,
            location_id=item.location_id,
            category_id=item.category_id,
        ),
        low_stock(None, item),
    )


def updated_events(before: Item, after: Item) -> list[EventData]:
    """Empty if nothing changed but how many units are reserved: of that, the transfer or checkout tells."""
    changes = diff(view(before), view(after))
    if changes.keys() <= {"reserved_quantity"}:
        return []
    return _with_alert(
        ItemUpdated(
            itemId=after.id,
            name=after.name,
            sku=after.sku,
            quantity=after.quantity,
            location_id=after.location_id,
            category_id=after.category_id,
            changes=changes,
        ),
        low_stock(before, after),
    )


def deleted_event(item: Item) -> ItemDeleted:
    return ItemDeleted(
        itemId=item.id, name=item.name, sku=item.sku, location_id=item.location_id, category_id=item.category_id
    )


async def create(change: Mutation, item: Item, *, reason: Reason = "created", reference_id: UUID | None = None) -> Item:
    """Store a new item and emit what follows. Returns it with the database's times.

    Raises Unprocessable, Conflict for a sku or serial number that is taken, BadRequest for a category or location that
    does not exist."""
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
    created = from_row(row)
    for event in created_events(created):
        change.emit(event)
    change.audit(ENTITY, created.id, None, view(created))
    return created


async def lock(change: Mutation, item_id: UUID) -> Item:
    """The item, which nobody else can change before this mutation ends. Raises NotFound."""
    row = await _SQL.lock.fetchrow(change.connection, id=item_id)
    if row is None:
        raise NotFound("no item has this id")
    return from_row(row)


async def lock_several(change: Mutation, item_ids: Collection[UUID]) -> dict[UUID, Item]:
    """Those of the items that exist, locked in the order of their ids. Whoever needs more than one locks them by this alone."""
    rows = await _SQL.lock_several.fetch(change.connection, ids=list(item_ids))
    return {row["id"]: from_row(row) for row in rows}


async def save(
    change: Mutation, before: Item, after: Item, *, reason: Reason = "counted", reference_id: UUID | None = None
) -> Item:
    """Store an item that this mutation has locked and changed, and emit what follows.

    `reason` is why the quantity changed, if it did, and `reference_id` the transfer or checkout that it changed for. If
    nothing changed, does nothing and returns `before` itself. Raises as `create` does."""
    check_quantities(after)
    if not diff(view(before), view(after)):
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
    saved = from_row(row)
    change.audit(ENTITY, saved.id, view(before), view(saved))
    return saved


async def remove(change: Mutation, item: Item) -> None:
    """Remove an item that this mutation has locked. Raises Conflict while units of it are reserved, or a checkout of it is open."""
    if item.reserved_quantity > 0:
        raise Conflict(f"{item.reserved_quantity} units of {item.name} are reserved, so it cannot be deleted")
    try:
        await _SQL.delete.execute(change.connection, id=item.id)
    except asyncpg.ForeignKeyViolationError:
        raise Conflict(f"a checkout of {item.name} is open, so it cannot be deleted") from None
    change.emit(deleted_event(item))
    change.audit(ENTITY, item.id, view(item), None)


def _values(item: Item, *, without: AbstractSet[str] = frozenset()) -> dict[str, Any]:
    """The columns that are ours to write."""
    return {name: getattr(item, name) for name in _COLUMNS if name not in {"created_at", "updated_at"} | without}


def _with_alert(event: EventData, alert: LowStockAlert | None) -> list[EventData]:
    return [event] if alert is None else [event, alert]


def _refusal(error: asyncpg.PostgresError, item: Item) -> Problem | asyncpg.PostgresError:
    """What the constraints say about an item. They are what decides: a look beforehand could be overtaken."""
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
