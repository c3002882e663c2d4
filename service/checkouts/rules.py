"""The rules of checkouts: who may do what to a checkout, and what that does to its item.

The functions are pure. They take the present state and a request, and return the new state or raise
a problem.
"""

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from typing_extensions import TypedDict

from service.platform.clock import iso, iso_or_none
from service.platform.errors import Conflict, Forbidden, Unprocessable
from service.stock.item import MAX_QUANTITY, Item

ADMIN, SUPERVISOR, FOREMAN = "admin", "supervisor", "foreman"
PENDING, ACTIVE = "pending_authorization", "active"
_NOT_LENT = frozenset({"maintenance", "retired", "lost"})


class ReturnView(TypedDict):
    """Units that came back together. `item_id` is the item that they joined."""

    quantity: int
    returned_by: str
    item_id: str
    location_id: str | None
    notes: str | None
    returned_at: str


class CheckoutView(TypedDict):
    """A checkout as the API shows it. The user `user_id` holds the units, and the user
    `requested_by` asked for them. A checkout is `overdue` if it is active and the day on which it
    should be back is over in UTC."""

    id: str
    item_id: str
    user_id: str
    requested_by: str
    quantity: int
    returned_quantity: int
    status: str
    overdue: bool
    expected_return_date: str | None
    destination_location_id: str | None
    project_id: str | None
    notes: str | None
    authorized_by: str | None
    authorized_at: str | None
    rejected_by: str | None
    rejected_at: str | None
    cancelled_by: str | None
    cancelled_at: str | None
    returned_by: str | None
    returned_at: str | None
    returns: list[ReturnView]
    created_at: str
    updated_at: str


@dataclass(frozen=True, slots=True)
class Checkout:
    """A checkout as its row holds it. `foremen` are the foremen of its item's location and of its
    destination."""

    id: UUID
    item_id: UUID
    user_id: UUID
    requested_by: UUID
    quantity: int
    returned_quantity: int
    status: str
    overdue: bool
    expected_return_date: date | None
    destination_location_id: UUID | None
    project_id: str | None
    notes: str | None
    authorized_by: UUID | None
    authorized_at: datetime | None
    rejected_by: UUID | None
    rejected_at: datetime | None
    cancelled_by: UUID | None
    cancelled_at: datetime | None
    returned_by: UUID | None
    returned_at: datetime | None
    returns: list[ReturnView]
    foremen: list[UUID]
    created_at: datetime
    updated_at: datetime

    @property
    def out(self) -> int:
        """How many units of an active checkout are still out."""
        return self.quantity - self.returned_quantity


def checkout_view(checkout: Checkout) -> CheckoutView:
    return {
        "id": str(checkout.id),
        "item_id": str(checkout.item_id),
        "user_id": str(checkout.user_id),
        "requested_by": str(checkout.requested_by),
        "quantity": checkout.quantity,
        "returned_quantity": checkout.returned_quantity,
        "status": checkout.status,
        "overdue": checkout.overdue,
        "expected_return_date": checkout.expected_return_date.isoformat() if checkout.expected_return_date else None,
        "destination_location_id": _text(checkout.destination_location_id),
        "project_id": checkout.project_id,
        "notes": checkout.notes,
        "authorized_by": _text(checkout.authorized_by),
        "authorized_at": iso_or_none(checkout.authorized_at),
        "rejected_by": _text(checkout.rejected_by),
        "rejected_at": iso_or_none(checkout.rejected_at),
        "cancelled_by": _text(checkout.cancelled_by),
        "cancelled_at": iso_or_none(checkout.cancelled_at),
        "returned_by": _text(checkout.returned_by),
        "returned_at": iso_or_none(checkout.returned_at),
        "returns": checkout.returns,
        "created_at": iso(checkout.created_at),
        "updated_at": iso(checkout.updated_at),
    }


def first_status(role: str) -> str:
    """A request of an admin authorises the checkout. All others wait for an admin."""
    return ACTIVE if role == ADMIN else PENDING


def check_waits(checkout: Checkout) -> None:
    """Raises Conflict unless the checkout can still be authorised, rejected or cancelled."""
    if checkout.status != PENDING:
        raise Conflict(f"the checkout does not wait for authorisation: it is {checkout.status}")


def check_active(checkout: Checkout) -> None:
    """Raises Conflict unless units of the checkout are out."""
    if checkout.status != ACTIVE:
        raise Conflict(f"nothing of the checkout is out: it is {checkout.status}")


def check_may_hand_out(role: str, by: UUID, holder: UUID) -> None:
    """Raises Forbidden unless the user `by` may check units out for the user `holder`."""
    if holder != by and role not in (ADMIN, SUPERVISOR):
        raise Forbidden("only an admin or a supervisor hands out to somebody else")


def check_return_date(expected: date | None, today: date) -> None:
    """Raises Unprocessable for a day that is over in all time zones. `today` is the day in UTC."""
    if expected is not None and expected < today - timedelta(days=1):
        raise Unprocessable.at("/expected_return_date", f"the day is over: today is {today.isoformat()} (UTC)")


def check_item_readable(*, readable: bool) -> None:
    if not readable:
        raise Forbidden("a foreman checks out only what is at assigned locations, or at none")


def check_lendable(item: Item, quantity: int) -> None:
    """Raises Unprocessable unless `quantity` units of the item can be checked out now."""
    if item.status in _NOT_LENT:
        raise Unprocessable.at("/item_id", f"{item.name} is {item.status}, so it cannot be checked out")
    free = item.quantity - item.reserved_quantity
    if free < quantity:
        reserved = f" ({item.reserved_quantity} more are reserved)" if item.reserved_quantity else ""
        raise Unprocessable.at("/quantity", f"{item.name} has {free} left{reserved}, which is fewer than {quantity}")


def lent(item: Item, quantity: int) -> Item:
    """The item after `quantity` units were checked out. Raises Unprocessable."""
    check_lendable(item, quantity)
    left = item.quantity - quantity
    status = "checked_out" if left == 0 and item.status == "available" else item.status
    return replace(item, quantity=left, status=status)


def units_back(checkout: Checkout, asked: int | None) -> int:
    """How many units of an active checkout come back: `asked`, or all that are still out if it is
    None. Raises Unprocessable if `asked` is more than that."""
    if asked is not None and asked > checkout.out:
        raise Unprocessable.at("/quantity", f"{checkout.out} units are still out, which is fewer than {asked}")
    return checkout.out if asked is None else asked


def comes_back_itself(item: Item, location_id: UUID | None) -> bool:
    """Whether units that come back to this location join their item, and not another item there.

    A serial number names one unit. So an item that has one is always where its unit is."""
    return location_id is None or location_id == item.location_id or item.serial_number is not None


def given_back(item: Item, quantity: int, location_id: UUID | None) -> Item:
    """The item after `quantity` units came back to it. Raises Unprocessable if it would have more
    units than an item can have."""
    if item.quantity + quantity > MAX_QUANTITY:
        raise Unprocessable.at("/quantity", f"{item.name} has {item.quantity}, and can have {MAX_QUANTITY} at most")
    status = "available" if item.status == "checked_out" else item.status
    return replace(item, quantity=item.quantity + quantity, status=status, location_id=location_id or item.location_id)


def is_checked_out(item: Item) -> bool:
    return item.status == "checked_out"


def no_longer_out(item: Item) -> Item:
    return replace(item, status="available")


def check_readable(role: str, user_id: UUID, checkout: Checkout) -> None:
    everything = role in (ADMIN, SUPERVISOR)
    own = user_id in (checkout.user_id, checkout.requested_by)
    if not (everything or own or (role == FOREMAN and user_id in checkout.foremen)):
        raise Forbidden("one reads one's own checkouts, and a foreman those of assigned locations")


def check_may_cancel(role: str, user_id: UUID, checkout: Checkout) -> None:
    if role != ADMIN and user_id not in (checkout.user_id, checkout.requested_by):
        raise Forbidden("only an admin cancels the checkout of somebody else")


def check_may_return(role: str, user_id: UUID, checkout: Checkout) -> None:
    match role:
        case "foreman":
            allowed = user_id in checkout.foremen
        case "worker":
            allowed = checkout.user_id == user_id
        case _:
            allowed = role in (ADMIN, SUPERVISOR)
    if not allowed:
        raise Forbidden("a worker returns their own checkouts, and a foreman those of assigned locations")


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
