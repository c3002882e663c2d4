"""The bodies and queries that the routes of transfers take.

Older clients use other names for some fields: itemId, fromLocation, toLocation.
"""

from typing import Literal

from pydantic import AliasChoices, Field

from service.api.fields import Body, Description, Id, Units
from service.api.paging import IdPage

Status = Literal["pending", "approved", "rejected", "in_transit", "completed", "cancelled"]


class TransferRequest(Body):
    item_id: Id = Field(validation_alias=AliasChoices("item_id", "itemId"))
    from_location_id: Id = Field(
        validation_alias=AliasChoices("from_location_id", "fromLocation", "fromLocationId"),
    )
    to_location_id: Id = Field(validation_alias=AliasChoices("to_location_id", "toLocation", "toLocationId"))
    quantity: Units
    reason: Description | None = None


class TransferRejection(Body):
    reason: Description | None = None


class TransferQuery(IdPage):
    """`location_id` finds the transfers from this location and those to it."""

    status: Status | None = None
    item_id: Id | None = None
    location_id: Id | None = None
