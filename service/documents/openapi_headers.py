"""The headers that the OpenAPI document describes once, for all routes that take or give them."""

from service.api.unknown import HEADER as IGNORED
from service.documents.schemas import Schema

HEADERS: dict[str, Schema] = {
    "X-Request-ID": {
        "description": "The request's id: the one that was sent, or a new one.",
        "schema": {"type": "string"},
    },
    "X-Total-Count": {
        "description": "How many there are in all; where X-Total-Count-Is-Minimum is there, at least.",
        "schema": {"type": "integer", "minimum": 0},
    },
    "X-Total-Count-Is-Minimum": {
        "description": "`true`, and only there, where more rows are there than are counted.",
        "schema": {"type": "string", "enum": ["true"]},
    },
    "Link": {
        "description": "RFC 8288 links to the pages `first`, `prev`, `next` and `last`.",
        "schema": {"type": "string"},
    },
    "ETag": {
        "description": "The strong tag of this representation, for `If-Match` and `If-None-Match`.",
        "schema": {"type": "string"},
    },
    "Idempotency-Replayed": {
        "description": "`true` on an answer that was kept for this `Idempotency-Key`.",
        "schema": {"type": "string"},
    },
    IGNORED: {
        "description": (
            "The fields of the body that had no effect, as `filters.color`; `*` for a body that is no JSON object where none is "
            "taken. At most 20 are named, and then how many more there are. The header is left out if there are none."
        ),
        "schema": {"type": "string"},
    },
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 0}},
    "WWW-Authenticate": {"description": "How to sign in.", "schema": {"type": "string"}},
}

# What any route of a shape takes: named here once, referred to by each.
IDEMPOTENCY_KEY: Schema = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "A name for this request: sent again with the same body, it gets the same answer and nothing happens twice.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
}
IF_MATCH: Schema = {
    "name": "If-Match",
    "in": "header",
    "description": "The `ETag` that the resource must still have; 412 otherwise.",
    "schema": {"type": "string"},
    "examples": {"any": {"value": "*"}},
}
