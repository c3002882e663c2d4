"""The description of a delivery in both documents: its headers, its body and the answers to it."""

from typing import Any

from service.documents.examples import EVENT_ID, SECRET, SENT_AT, WEBHOOK_ID
from service.events.catalogue import CATALOGUE
from service.events.data import EventData

_HEADERS: dict[str, tuple[dict[str, Any], str]] = {
    "X-Webhook-Signature": (
        {"type": "string", "pattern": "^[0-9a-f]{64}$"},
        (
            "Lower-case hex HMAC-SHA256 of the `data` value as it was sent, which is what `JSON.stringify(body.data)` gives; the "
            "key is the webhook's whole secret, as text."
        ),
    ),
    "X-Webhook-ID": ({"type": "string", "format": "uuid", "examples": [WEBHOOK_ID]}, "The webhook's id."),
    "X-Event-Type": ({"type": "string", "enum": [*CATALOGUE]}, "The event's type."),
    "webhook-id": ({"type": "string", "format": "uuid", "examples": [EVENT_ID]}, "The event's id."),
    "webhook-timestamp": (
        {"type": "string", "pattern": "^[0-9]+$", "examples": [str(SENT_AT)]},
        "Unix seconds of this attempt.",
    ),
    "webhook-signature": (
        {"type": "string"},
        (
            "`v1,` and the base64 of an HMAC-SHA256, by Standard Webhooks. During the overlap after a rotation of the secret there "
            "are two, separated by a space."
        ),
    ),
}
ABOUT = (
    "A delivery is a `POST` of JSON to a webhook's URL. It is repeated until it is answered with a 2xx or its retries are used "
    "up, so the same `id` may arrive more than once: drop what you have already processed. Only a webhook with an `ordering` is "
    "promised an order. Verify one of the two signatures before anything else. The examples are signed with the secret "
    f"`{SECRET}`."
)
ANSWERS = {
    "2XX": "Received; the event is not sent again.",
    "410": "The webhook is disabled; nothing more is sent to it.",
    "429": "Sent again later, as is any other answer that is not a 2xx; `Retry-After` is heeded.",
}


def header_schema(name: str) -> dict[str, Any]:
    return _HEADERS[name][0]


def header_names() -> tuple[str, ...]:
    return tuple(_HEADERS)


def header_description(name: str) -> str:
    return _HEADERS[name][1]


def envelope_name(event: type[EventData]) -> str:
    return f"{event.__name__}Delivery"


def envelope(event: type[EventData]) -> dict[str, Any]:
    """The body of a delivery. Keys are sent in this order."""
    properties = {
        "id": {
            "type": "string",
            "format": "uuid",
            "description": "The event's id: the same at every attempt and every retry.",
        },
        "eventType": {"const": event.type},
        "data": {"$ref": f"#/components/schemas/{event.__name__}"},
        "timestamp": {"type": "string", "format": "date-time", "description": "When it happened."},
        "attempt": {"type": "integer", "minimum": 1, "description": "The number of this attempt."},
    }
    required = list(properties)
    properties["sequence"] = {
        "type": "integer",
        "minimum": 1,
        "description": "The number of the event in the order of its item. Left out unless the webhook asks for order.",
    }
    return {"type": "object", "description": event.summary, "properties": properties, "required": required}
