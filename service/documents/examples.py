"""An example of a delivery for each event type, with valid signatures, for the documents."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from service.delivery.sign import sign_data, sign_message
from service.events.catalogue import CATALOGUE
from service.events.data import EventData
from service.platform import canonical
from service.platform.canonical import Json

# The Standard Webhooks specification publishes this secret, so nobody uses it. With it, a receiver
# can test its own verification.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # noqa: S105
EVENT_ID = "0198c0de-7a11-7c3e-9f00-5b7d3c2a1e10"
WEBHOOK_ID = "0198c0c0-55ee-7b2c-8d4e-6f5a4b3c2d1e"
# When the event happened, and when the first attempt was made: the same moment in two formats.
OCCURRED_AT = "2026-02-18T09:30:00.123Z"
SENT_AT = 1771407000

FIELDS: Mapping[str, Json] = {
    "itemId": "0198c0d0-11aa-7b2c-8d4e-6f5a4b3c2d1e",
    "locationId": "0198c0d0-22bb-7b2c-8d4e-6f5a4b3c2d1e",
    "location_id": "0198c0d0-22bb-7b2c-8d4e-6f5a4b3c2d1e",
    "categoryId": "0198c0d0-44dd-7b2c-8d4e-6f5a4b3c2d1e",
    "category_id": "0198c0d0-44dd-7b2c-8d4e-6f5a4b3c2d1e",
    "parent_id": None,
    "transferId": "0198c0d4-66ff-7b2c-8d4e-6f5a4b3c2d1e",
    "checkoutId": "0198c0d5-77aa-7b2c-8d4e-6f5a4b3c2d1e",
    "userId": "0198c0d0-33cc-7b2c-8d4e-6f5a4b3c2d1e",
    "sessionId": "0198c0d6-88bb-7b2c-8d4e-6f5a4b3c2d1e",
    "fromLocation": "0198c0d0-22bb-7b2c-8d4e-6f5a4b3c2d1e",
    "toLocation": "0198c0d0-22cc-7b2c-8d4e-6f5a4b3c2d1e",
    "destinationLocation": "0198c0d0-22cc-7b2c-8d4e-6f5a4b3c2d1e",
    "returnLocation": "0198c0d0-22bb-7b2c-8d4e-6f5a4b3c2d1e",
    "rotatedBy": "0198c0d0-33cc-7b2c-8d4e-6f5a4b3c2d1e",
    "overlapUntil": "2026-02-19T09:30:00.123Z",
    "requestedBy": "0198c0d0-33cc-7b2c-8d4e-6f5a4b3c2d1e",
    "returnedBy": "0198c0d0-33cc-7b2c-8d4e-6f5a4b3c2d1e",
    "approvedBy": "0198c0d0-33dd-7b2c-8d4e-6f5a4b3c2d1e",
    "rejectedBy": "0198c0d0-33dd-7b2c-8d4e-6f5a4b3c2d1e",
    "projectId": "linden-school",
    "name": "Hydraulic pump",
    "sku": "HP-100",
    "quantity": 4,
    "currentStock": 4,
    "minStock": 10,
    "alert": "Low stock: Hydraulic pump has 4 left, minimum is 10",
    "reason": "The site has run out",
    "username": "ada",
    "email": "ada@example.org",
    "role": "worker",
    "userAgent": "Mozilla/5.0",
    "ipAddress": "203.0.113.7",
    "deviceInfo": None,
    "timestamp": OCCURRED_AT,
    "webhookId": WEBHOOK_ID,
    "url": "https://your-app.com",
    "failingSince": "2026-02-13T09:29:58.004Z",
    "openedAt": "2026-02-13T09:30:41.250Z",
    "failures": 312,
    "count": 3,
    "skipped": 0,
    "lastEventId": "0198c0de-7a0f-7c3e-9f00-5b7d3c2a1e10",
    "lastEventType": "low-stock-alert",
    "lastError": "the receiver answered 500",
}


@dataclass(frozen=True, slots=True)
class Example:
    """A delivery: its body as an object, and the headers that sign and name it."""

    payload: dict[str, Any]
    headers: dict[str, str]


def data(event: type[EventData]) -> dict[str, Json]:
    """Example data of an event of this type. Raises LookupError if a field has no example, or an
    example no field."""
    if odd := event.example.keys() - event.model_fields.keys():
        raise LookupError(f"the example of {event.type} has {', '.join(sorted(odd))}, which it has not")
    values = {**FIELDS, **event.example}
    if missing := [name for name in event.model_fields if name not in values]:
        raise LookupError(f"there is no example of {', '.join(missing)} of {event.type}")
    return {name: values[name] for name in event.model_fields}


def delivery(event: type[EventData]) -> Example:
    """The first attempt to deliver such an event, signed with SECRET."""
    carried = data(event)
    payload = {"id": EVENT_ID, "eventType": event.type, "data": carried, "timestamp": OCCURRED_AT, "attempt": 1}
    return Example(
        payload,
        {
            "X-Webhook-Signature": sign_data(SECRET, canonical.dumps(carried).encode()),
            "X-Webhook-ID": WEBHOOK_ID,
            "X-Event-Type": event.type,
            "webhook-id": EVENT_ID,
            "webhook-timestamp": str(SENT_AT),
            "webhook-signature": sign_message(SECRET, EVENT_ID, SENT_AT, orjson.dumps(payload)),
        },
    )


EXAMPLES = {name: delivery(event) for name, event in CATALOGUE.items()}
