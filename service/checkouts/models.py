"""What the routes of checkouts take."""

from typing import Annotated, Literal

from pydantic import Field

from service.api.fields import MAX_INTEGER, Body, Day, Description, Id, Text
from service.api.paging import IdPage

Units = Annotated[int, Field(strict=True, ge=1, le=MAX_INTEGER)]
Project = Annotated[Text, Field(min_length=1, max_length=255)]


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
