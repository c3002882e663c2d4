"""The bodies and queries that the routes of checkouts take."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from service.api.fields import Body, Day, Description, Id, MaybeId, Text, Units
from service.api.paging import IdPage

Project = Annotated[Text, Field(min_length=1, max_length=255)]


class CheckoutRequest(Body):
    """`user_id` is the user who gets the units. Without it, the caller gets them."""

    item_id: Id
    quantity: Units
    user_id: MaybeId = None
    expected_return_date: Day | None = None
    destination_location_id: MaybeId = None
    project_id: Project | None = None
    notes: Description | None = None


class Checkin(Body):
    """Without a quantity, all units that are still out come back. Without a location, they come
    back to the location of their item."""

    quantity: Units | None = None
    location_id: MaybeId = None
    notes: Description | None = None


class CheckoutQuery(IdPage):
    """`status=overdue` means the same as `overdue=true`. The status of an overdue checkout is
    active."""

    item_id: Id | None = None
    user_id: Id | None = None
    status: Literal["pending_authorization", "active", "overdue", "returned", "rejected", "cancelled"] | None = None
    overdue: Literal["true", "false"] | None = None

    @model_validator(mode="after")
    def _one_answer(self) -> "CheckoutQuery":
        if self.status == "overdue" and self.overdue == "false":
            raise ValueError("status=overdue is overdue=true; give one of them")
        return self
