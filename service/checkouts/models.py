"""What the routes of checkouts take."""

from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from service.api.fields import MAX_INTEGER, Body, Description, Id, Text
from service.api.paging import IdPage

Units = Annotated[int, Field(strict=True, ge=1, le=MAX_INTEGER)]
Project = Annotated[Text, Field(min_length=1, max_length=255)]


def _day(value: Any) -> Any:
    # Pydantic would take numbers, and strings of them, for seconds.
    if not isinstance(value, str) or value[4:5] != "-":
        raise ValueError("must be a date such as 2026-02-18")
    if len(value) == len("2026-02-18"):
        return value
    # Older clients send a moment; what counts of it is its day in UTC.
    try:
        moment = datetime.fromisoformat(value)
        return (moment if moment.tzinfo is None else moment.astimezone(UTC)).date()
    except (ValueError, OverflowError):
        raise ValueError("must be a date such as 2026-02-18") from None


Day = Annotated[date, BeforeValidator(_day)]


class CheckoutRequest(Body):
    item_id: Id
    quantity: Units
    expected_return_date: Day | None = None
    destination_location_id: Id | None = None
    project_id: Project | None = None
    notes: Description | None = None


class Checkin(Body):
    """Without a quantity, all that is still out comes back; without a location, to where the item is."""

    quantity: Units | None = None
    location_id: Id | None = None
    notes: Description | None = None


class CheckoutQuery(IdPage):
    item_id: Id | None = None
    user_id: Id | None = None
    status: Literal["pending_authorization", "active", "overdue", "returned", "rejected", "cancelled"] | None = None
