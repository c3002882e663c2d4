"""The catalogue of events: each type, with the model of its data. Fields have the order in which
they are sent.

A receiver verifies the bytes of `data`. So no field is ever renamed, moved or made a float. The
names of the fields are the keys of the JSON.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar
from uuid import UUID

from service.events.data import Changes, EventData
from service.events.operations import DeliveryFailed, WebhookDisabled, WebhookRecovered
from service.platform.canonical import Json

# Items


class ItemCreated(EventData):
    type: ClassVar[str] = "item-created"
    summary: ClassVar[str] = "An item was created."

    itemId: UUID
    name: str
    sku: str | None
    quantity: int
    location_id: UUID | None
    category_id: UUID | None


class ItemUpdated(ItemCreated):
    type: ClassVar[str] = "item-updated"
    summary: ClassVar[str] = (
        "An item changed: by an edit, a move, a count, a checkout, a checkin or a completed transfer."
    )
    example: ClassVar[Mapping[str, Json]] = {"changes": {"quantity": {"from": 12, "to": 4}}}

    changes: Changes


class ItemDeleted(EventData):
    type: ClassVar[str] = "item-deleted"
    summary: ClassVar[str] = "An item was removed."

    itemId: UUID
    name: str
    sku: str | None
    location_id: UUID | None
    category_id: UUID | None


class LowStockAlert(EventData):
    type: ClassVar[str] = "low-stock-alert"
    summary: ClassVar[str] = "A change of an item's quantity or minimum left its stock below the minimum."

    itemId: UUID
    name: str
    sku: str | None
    currentStock: int
    minStock: int
    location_id: UUID | None
    category_id: UUID | None
    alert: str


# Transfers


class _Transfer(EventData):
    transferId: UUID
    itemId: UUID
    quantity: int
    fromLocation: UUID
    toLocation: UUID
    requestedBy: UUID
    reason: str | None
    status: str


class TransferApprovalNeeded(_Transfer):
    type: ClassVar[str] = "transfer-approval-needed"
    summary: ClassVar[str] = "A transfer was requested and awaits approval."
    example: ClassVar[Mapping[str, Json]] = {"status": "pending"}


class TransferApproved(_Transfer):
    type: ClassVar[str] = "transfer-approved"
    summary: ClassVar[str] = "A transfer was approved."
    example: ClassVar[Mapping[str, Json]] = {"status": "approved"}

    approvedBy: UUID


class TransferRejected(_Transfer):
    type: ClassVar[str] = "transfer-rejected"
    summary: ClassVar[str] = "A transfer was rejected. `reason` says why."
    example: ClassVar[Mapping[str, Json]] = {"status": "rejected", "reason": "The other site needs them more"}

    rejectedBy: UUID


class TransferDispatched(_Transfer):
    type: ClassVar[str] = "transfer-dispatched"
    summary: ClassVar[str] = "A transfer's units left their location."
    example: ClassVar[Mapping[str, Json]] = {"status": "in_transit"}


class TransferCompleted(_Transfer):
    type: ClassVar[str] = "transfer-completed"
    summary: ClassVar[str] = "A transfer's units arrived."
    example: ClassVar[Mapping[str, Json]] = {"status": "completed"}


class TransferCancelled(_Transfer):
    type: ClassVar[str] = "transfer-cancelled"
    summary: ClassVar[str] = "A transfer was called off and its units released."
    example: ClassVar[Mapping[str, Json]] = {"status": "cancelled"}


# Checkouts


class ItemCheckout(EventData):
    type: ClassVar[str] = "item-checkout"
    summary: ClassVar[str] = (
        "A checkout was requested, or became active. `status` says which. The user `userId` gets the units."
    )
    example: ClassVar[Mapping[str, Json]] = {"status": "pending_authorization"}

    checkoutId: UUID
    itemId: UUID
    quantity: int
    userId: UUID
    status: str
    destinationLocation: UUID | None
    projectId: str | None
    requestedBy: UUID


class ItemCheckin(EventData):
    type: ClassVar[str] = "item-checkin"
    summary: ClassVar[str] = "A checkout was returned."

    checkoutId: UUID
    itemId: UUID
    quantity: int
    userId: UUID
    returnedBy: UUID
    returnLocation: UUID | None


class CheckoutRejected(ItemCheckout):
    type: ClassVar[str] = "checkout-rejected"
    summary: ClassVar[str] = "A checkout that awaited authorisation was refused."
    example: ClassVar[Mapping[str, Json]] = {"status": "rejected"}


class CheckoutCancelled(ItemCheckout):
    type: ClassVar[str] = "checkout-cancelled"
    summary: ClassVar[str] = "A checkout that awaited authorisation was called off."
    example: ClassVar[Mapping[str, Json]] = {"status": "cancelled"}


# Locations and categories


class LocationCreated(EventData):
    type: ClassVar[str] = "location-created"
    summary: ClassVar[str] = "A location was created."
    example: ClassVar[Mapping[str, Json]] = {"name": "Site Linden School"}

    locationId: UUID
    name: str


class LocationUpdated(LocationCreated):
    type: ClassVar[str] = "location-updated"
    summary: ClassVar[str] = "A location changed, or its foremen did."
    example: ClassVar[Mapping[str, Json]] = {
        **LocationCreated.example,
        "changes": {"name": {"from": "Site Linden", "to": "Site Linden School"}},
    }

    changes: Changes


class LocationDeleted(LocationCreated):
    type: ClassVar[str] = "location-deleted"
    summary: ClassVar[str] = "A location was removed."


class CategoryCreated(EventData):
    type: ClassVar[str] = "category-created"
    summary: ClassVar[str] = "A category was created."
    example: ClassVar[Mapping[str, Json]] = {"name": "Pumps"}

    categoryId: UUID
    name: str
    parent_id: UUID | None


class CategoryUpdated(CategoryCreated):
    type: ClassVar[str] = "category-updated"
    summary: ClassVar[str] = "A category changed."
    example: ClassVar[Mapping[str, Json]] = {
        **CategoryCreated.example,
        "changes": {"name": {"from": "Pump", "to": "Pumps"}},
    }

    changes: Changes


class CategoryDeleted(CategoryCreated):
    type: ClassVar[str] = "category-deleted"
    summary: ClassVar[str] = "A category was removed."


# Users and sessions


class UserLogin(EventData):
    type: ClassVar[str] = "user-login"
    summary: ClassVar[str] = "A login succeeded."

    userId: UUID
    username: str
    email: str
    role: str
    userAgent: str | None
    ipAddress: str | None
    deviceInfo: str | None
    timestamp: datetime


class UserLogout(EventData):
    type: ClassVar[str] = "user-logout"
    summary: ClassVar[str] = "A session was ended by its user or an admin."

    userId: UUID
    username: str
    email: str
    role: str
    timestamp: datetime


class UserRegistered(EventData):
    type: ClassVar[str] = "user-registered"
    summary: ClassVar[str] = "A user was registered."

    userId: UUID
    username: str
    email: str
    role: str


class UserUpdated(UserRegistered):
    type: ClassVar[str] = "user-updated"
    summary: ClassVar[str] = "A user changed."
    example: ClassVar[Mapping[str, Json]] = {
        "role": "foreman",
        "changes": {"role": {"from": "worker", "to": "foreman"}},
    }

    changes: Changes


class PasswordChanged(UserRegistered):
    type: ClassVar[str] = "password-changed"
    summary: ClassVar[str] = "A user's password was changed."


class SessionRefreshed(UserRegistered):
    type: ClassVar[str] = "session-refreshed"
    summary: ClassVar[str] = "A session's tokens were renewed."

    sessionId: UUID


# Webhooks. The notices, which a relay writes, are in service/events/operations.py.


class SecretRotated(EventData):
    type: ClassVar[str] = "secret-rotated"
    summary: ClassVar[str] = (
        "The secret of a webhook was rotated. The previous secret signs, too, until `overlapUntil`. If that is null, it no longer "
        "signs. `url` lacks the path and query."
    )

    webhookId: UUID
    userId: UUID
    url: str
    rotatedBy: UUID
    overlapUntil: datetime | None
    timestamp: datetime


CATALOGUE: dict[str, type[EventData]] = {
    data.type: data
    for data in (
        ItemCreated,
        ItemUpdated,
        ItemDeleted,
        LowStockAlert,
        TransferApprovalNeeded,
        TransferApproved,
        TransferRejected,
        ItemCheckout,
        ItemCheckin,
        UserLogin,
        UserLogout,
        TransferDispatched,
        TransferCompleted,
        TransferCancelled,
        CheckoutRejected,
        CheckoutCancelled,
        LocationCreated,
        LocationUpdated,
        LocationDeleted,
        CategoryCreated,
        CategoryUpdated,
        CategoryDeleted,
        UserRegistered,
        UserUpdated,
        PasswordChanged,
        SessionRefreshed,
        WebhookDisabled,
        WebhookRecovered,
        DeliveryFailed,
        SecretRotated,
    )
}
