"""The rules of transfers: who may do what to a transfer, and where its units go.

The functions are pure. They take the present state and a request, and return the new state or raise
a problem.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from typing_extensions import TypedDict

from service.events.catalogue import (
    TransferApprovalNeeded,
    TransferApproved,
    TransferCancelled,
    TransferCompleted,
    TransferDispatched,
    TransferRejected,
)
from service.events.data import EventData
from service.platform.clock import iso, iso_or_none
from service.platform.errors import BadRequest, Conflict, FieldError, Forbidden, Unprocessable
from service.stock.item import Item

PENDING, APPROVED, REJECTED = "pending", "approved", "rejected"
IN_TRANSIT, COMPLETED, CANCELLED = "in_transit", "completed", "cancelled"

EDGES: dict[str, tuple[str, ...]] = {
    PENDING: (APPROVED, REJECTED, CANCELLED),
    APPROVED: (IN_TRANSIT, COMPLETED, CANCELLED),
    IN_TRANSIT: (COMPLETED, CANCELLED),
    REJECTED: (),
    COMPLETED: (),
    CANCELLED: (),
}
OUT_OF_USE = ("retired", "lost")
DECIDERS = ("admin", "supervisor")
FOREMAN = "foreman"


class TransferView(TypedDict):
    """A transfer as the API shows it. `to_item_id` is the item that the units joined."""

    id: str
    item_id: str
    from_location_id: str
    to_location_id: str
    quantity: int
    reason: str | None
    status: str
    requested_by: str
    approved_by: str | None
    approved_at: str | None
    rejected_by: str | None
    rejected_at: str | None
    rejection_reason: str | None
    dispatched_by: str | None
    dispatched_at: str | None
    completed_by: str | None
    completed_at: str | None
    cancelled_by: str | None
    cancelled_at: str | None
    to_item_id: str | None
    created_at: str
    updated_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    id: UUID
    item_id: UUID
    from_location_id: UUID
    to_location_id: UUID
    quantity: int
    reason: str | None
    status: str
    requested_by: UUID
    approved_by: UUID | None = None
    approved_at: datetime | None = None
    rejected_by: UUID | None = None
    rejected_at: datetime | None = None
    rejection_reason: str | None = None
    dispatched_by: UUID | None = None
    dispatched_at: datetime | None = None
    completed_by: UUID | None = None
    completed_at: datetime | None = None
    cancelled_by: UUID | None = None
    cancelled_at: datetime | None = None
    to_item_id: UUID | None = None
    created_at: datetime
    updated_at: datetime


def view(transfer: Transfer) -> TransferView:
    return {
        "id": str(transfer.id),
        "item_id": str(transfer.item_id),
        "from_location_id": str(transfer.from_location_id),
        "to_location_id": str(transfer.to_location_id),
        "quantity": transfer.quantity,
        "reason": transfer.reason,
        "status": transfer.status,
        "requested_by": str(transfer.requested_by),
        "approved_by": _id(transfer.approved_by),
        "approved_at": iso_or_none(transfer.approved_at),
        "rejected_by": _id(transfer.rejected_by),
        "rejected_at": iso_or_none(transfer.rejected_at),
        "rejection_reason": transfer.rejection_reason,
        "dispatched_by": _id(transfer.dispatched_by),
        "dispatched_at": iso_or_none(transfer.dispatched_at),
        "completed_by": _id(transfer.completed_by),
        "completed_at": iso_or_none(transfer.completed_at),
        "cancelled_by": _id(transfer.cancelled_by),
        "cancelled_at": iso_or_none(transfer.cancelled_at),
        "to_item_id": _id(transfer.to_item_id),
        "created_at": iso(transfer.created_at),
        "updated_at": iso(transfer.updated_at),
    }


def _id(value: UUID | None) -> str | None:
    return None if value is None else str(value)


# Rights


def check_requester(role: str, *, assigned: bool) -> None:
    """`assigned` says whether the location that the units leave is assigned to the user. Raises
    Forbidden."""
    if role == FOREMAN and not assigned:
        raise Forbidden("a foreman requests transfers only from the locations assigned to them")


def check_reader(role: str, user_id: UUID, transfer: Transfer, *, assigned: bool) -> None:
    """`assigned` says whether one of the two locations is assigned to the user. Raises
    Forbidden."""
    own = transfer.requested_by == user_id
    if role not in DECIDERS and not own and not (role == FOREMAN and assigned):
        raise Forbidden("this transfer is somebody else's")


def check_mover(role: str, user_id: UUID, transfer: Transfer) -> None:
    """Raises Forbidden unless the user may dispatch, complete or cancel the transfer."""
    if role not in DECIDERS and transfer.requested_by != user_id:
        raise Forbidden("this transfer is somebody else's")


# Units


def check_known(item: Item | None, item_id: UUID, places: dict[str, UUID], known: Collection[UUID]) -> Item:
    """The item. `places` are the locations by the name of their field, and `known` are those that
    exist. Raises BadRequest, which names all that do not exist."""
    errors = [] if item else [FieldError("/item_id", f"no item has the id {item_id}")]
    errors += [
        FieldError(f"/{name}", f"no location has the id {place}")
        for name, place in places.items()
        if place not in known
    ]
    if item is None or errors:
        raise BadRequest(errors[0].detail, errors=errors)
    return item


def reserve(item: Item, from_id: UUID, to_id: UUID, quantity: int) -> Item:
    """The item with the units of a new transfer reserved. Raises Unprocessable."""
    if from_id == to_id:
        raise Unprocessable.at("/to_location_id", "the units are at this location already")
    if item.location_id != from_id:
        raise Unprocessable.at("/from_location_id", "the item is not at this location")
    if item.status in OUT_OF_USE:
        raise Unprocessable.at("/item_id", f"{item.name} is {item.status}, so it cannot be transferred")
    free = item.quantity - item.reserved_quantity
    if quantity > free:
        raise Unprocessable.at(
            "/quantity", f"{free} units of {item.name} are not reserved, and {quantity} are asked for"
        )
    return replace(item, reserved_quantity=item.reserved_quantity + quantity)


def release(item: Item, transfer: Transfer) -> Item:
    return replace(item, reserved_quantity=item.reserved_quantity - transfer.quantity)


def step(transfer: Transfer, status: str, **details: Any) -> Transfer:
    """The transfer in its next state. `details` are the fields that say who did the step, when and
    why. Raises Conflict if EDGES do not allow the step."""
    if status not in EDGES[transfer.status]:
        raise Conflict(f"the transfer is {transfer.status}, and from there it cannot become {status}")
    return replace(transfer, status=status, **details)


def depart(transfer: Transfer, item: Item, there: Item | None) -> Item:
    """The item after its units have left in a completed transfer. `there` is the item at the
    destination that the units would join. Raises Conflict.

    A serial number names one unit. So an item that has one moves to the destination itself."""
    if item.location_id != transfer.from_location_id:
        raise Conflict(f"{item.name} is no longer at the location that the transfer leaves from; cancel the transfer")
    released = release(item, transfer)
    if item.serial_number is None:
        return replace(released, quantity=item.quantity - transfer.quantity)
    if there is not None and there.sku is not None and there.sku == item.sku:
        raise Conflict(
            f"{item.name} has a serial number and so remains an item of its own, and another item at the destination has"
            f" its sku {item.sku}"
        )
    return replace(released, location_id=transfer.to_location_id)


# Events


def event(transfer: Transfer) -> EventData:
    """The event of the step that brought the transfer into its state."""
    data: dict[str, Any] = {
        "transferId": transfer.id,
        "itemId": transfer.item_id,
        "quantity": transfer.quantity,
        "fromLocation": transfer.from_location_id,
        "toLocation": transfer.to_location_id,
        "requestedBy": transfer.requested_by,
        "reason": transfer.reason,
        "status": transfer.status,
    }
    match transfer.status:
        case "approved":
            return TransferApproved(**data, approvedBy=transfer.approved_by)
        case "rejected":
            return TransferRejected(**data | {"reason": transfer.rejection_reason}, rejectedBy=transfer.rejected_by)
        case "in_transit":
            return TransferDispatched(**data)
        case "completed":
            return TransferCompleted(**data)
        case "cancelled":
            return TransferCancelled(**data)
    return TransferApprovalNeeded(**data)
