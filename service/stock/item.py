"""An item, its form in the API, and the events that a change of it causes.

The events are derived here, so that a count, a transfer and a checkout cause the same events.
"""

from dataclasses import dataclass, fields
from datetime import date, datetime
from functools import cached_property
from typing import Any, Literal
from uuid import UUID

import asyncpg
import orjson
from typing_extensions import TypedDict

from service.events.catalogue import ItemCreated, ItemDeleted, ItemUpdated, LowStockAlert
from service.events.data import Changes, EventData
from service.platform.clock import iso
from service.platform.errors import Unprocessable

MAX_QUANTITY = 2**31 - 1
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


@dataclass(frozen=True)
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

    @cached_property
    def view(self) -> ItemView:
        """The item as the API shows it."""
        return {
            "id": str(self.id),
            "name": self.name,
            "sku": self.sku,
            "serial_number": self.serial_number,
            "description": self.description,
            "quantity": self.quantity,
            "reserved_quantity": self.reserved_quantity,
            "min_quantity": self.min_quantity,
            "condition": self.condition,
            "status": self.status,
            "purchase_date": self.purchase_date.isoformat() if self.purchase_date else None,
            "category_id": str(self.category_id) if self.category_id else None,
            "location_id": str(self.location_id) if self.location_id else None,
            "attributes": orjson.loads(self.attributes),
            "created_at": iso(self.created_at),
            "updated_at": iso(self.updated_at),
        }


COLUMNS = tuple(field.name for field in fields(Item))


def item_from_row(row: asyncpg.Record) -> Item:
    return Item(**{name: row[name] for name in COLUMNS})


def check_quantities(item: Item) -> None:
    """Raises Unprocessable if more units are reserved than there are, or if an item with a serial
    number has more than one unit."""
    if item.quantity < item.reserved_quantity:
        raise Unprocessable.at(
            "/quantity",
            f"{item.reserved_quantity} units are reserved, so the quantity cannot be {item.quantity}",
        )
    if item.serial_number is not None and item.quantity > 1:
        raise Unprocessable.at("/serial_number", f"a serial number names one unit, and the quantity is {item.quantity}")


def low_stock(before: Item | None, after: Item) -> LowStockAlert | None:
    """The alert if this change of the quantity or of its minimum left the quantity below the
    minimum. `before` is None if the item is new."""
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


def updated_events(before: Item, after: Item, changes: Changes) -> list[EventData]:
    """The events of a change. `changes` are those of the view. There are no events if only
    `reserved_quantity` changed, because the events of the transfer show that."""
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


def _with_alert(event: EventData, alert: LowStockAlert | None) -> list[EventData]:
    return [event] if alert is None else [event, alert]
