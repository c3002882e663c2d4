"""What the routes of checkouts take."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from service.api.fields import Body, Day, Description, Id, MaybeId, Text, Units
from service.api.paging import IdPage

Project = Annotated[Text, Field(min_length=1, max_length=255)]


class CheckoutRequest(Body):
    """`user_id`: who gets the units, if it is not the one who asks."""

    item_id: Id
    quantity: Units
    user_id: MaybeId = None
    expected_return_date: Day | None = None
    destination_location_id: MaybeId = None
    project_id: Project | None = None
    notes: Description | None = None


class Checkin(Body):
    """Without a quantity, all that is still out comes back; without a location, to where the item is."""

    quantity: Units | None = None
    location_id: MaybeId = None
    notes: Description | None = None


class CheckoutQuery(IdPage):
    """A status of overdue is another name for `overdue=true`: an overdue checkout's status is active."""

    item_id: Id | None = None
    user_id: Id | None = None
    status: Literal["pending_authorization", "active", "overdue", "returned", "rejected", "cancelled"] | None = None
    overdue: Literal["true", "false"] | None = None

    @model_validator(mode="after")
    def _one_answer(self) -> "CheckoutQuery":
        if self.status == "overdue" and self.overdue == "false":
            raise ValueError("status=overdue is overdue=true; give one of them")
        return self
