"""The AsyncAPI document for receivers, from the catalogue of events."""

from typing import Any

from service import __version__
from service.documents import receivers
from service.documents.examples import EXAMPLES
from service.documents.schemas import Schema, Schemas
from service.events.catalogue import CATALOGUE
from service.events.data import EventData


def document() -> dict[str, Any]:
    """The AsyncAPI 3 document."""
    names = {event.type: event.__name__ for event in CATALOGUE.values()}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Jossiedb's webhooks",
            "version": __version__,
            "description": receivers.ABOUT,
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {
            "webhook": {
                "address": None,
                "title": "The URL of a webhook",
                "description": "The owner of a webhook gives it, with `POST /api/v1/webhooks`.",
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names.values()},
            }
        },
        "operations": {
            "deliver": {
                "action": "send",
                "channel": {"$ref": "#/channels/webhook"},
                "summary": "Jossiedb sends, you receive.",
                "messages": [{"$ref": f"#/channels/webhook/messages/{name}"} for name in names.values()],
                "bindings": {"http": {"method": "POST", "bindingVersion": "0.3.0"}},
            }
        },
        "components": {
            "messages": {event.__name__: _message(event) for event in CATALOGUE.values()},
            "schemas": {
                "Headers": _headers(),
                **Schemas(()).components,
                **{receivers.envelope_name(event): receivers.envelope(event) for event in CATALOGUE.values()},
            },
        },
    }


def _message(event: type[EventData]) -> Schema:
    example = EXAMPLES[event.type]
    return {
        "name": event.type,
        "title": event.type,
        "summary": event.summary,
        "headers": {"$ref": "#/components/schemas/Headers"},
        "payload": {"$ref": f"#/components/schemas/{receivers.envelope_name(event)}"},
        "examples": [{"headers": example.headers, "payload": example.payload}],
    }


def _headers() -> Schema:
    properties = {
        name: {**receivers.header_schema(name), "description": receivers.header_description(name)}
        for name in receivers.header_names()
    }
    return {"type": "object", "properties": properties, "required": list(properties)}
