"""The headers that the OpenAPI document describes once, for all routes that take or send them."""

from service.api.unknown import HEADER as IGNORED
from service.documents.schemas import Schema

HEADERS: dict[str, Schema] = {
    "X-Request-ID": {
        "description": "The request's id: the one that was sent, or a new one.",
        "schema": {"type": "string"},
    },
    "X-Total-Count": {
        "description": "How many rows the list has in all, or at least if `X-Total-Count-Is-Minimum` is there.",
        "schema": {"type": "integer", "minimum": 0},
    },
    "X-Total-Count-Is-Minimum": {
        "description": "`true` if the list has more rows than are counted. Otherwise the header is left out.",
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
            "The fields of the body that had no effect, such as `filters.color`. `*` stands for a body that is no JSON object, for "
            "a route that takes no body. At most 20 are named, and then how many more there are. The header is left out if there "
            "are none."
        ),
        "schema": {"type": "string"},
    },
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 0}},
    "WWW-Authenticate": {"description": "How to sign in.", "schema": {"type": "string"}},
}

# The headers that requests may have. Each route that takes one refers to it.
IDEMPOTENCY_KEY: Schema = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "A name for this request. Sent again with the same body, it gets the same answer and has no further effect.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
}
IF_MATCH: Schema = {
    "name": "If-Match",
    "in": "header",
    "description": "The `ETag` that the resource must still have; 412 otherwise.",
    "schema": {"type": "string"},
    "examples": {"any": {"value": "*"}},
}
