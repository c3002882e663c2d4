"""The body of a request to a receiver."""

from datetime import datetime
from uuid import UUID

import orjson

from service.platform.clock import iso


def envelope_body(*, event_id: UUID, event_type: str, data: bytes, occurred_at: datetime, attempt: int) -> bytes:
    """The bytes that are sent, and that can be made again from the log. `data` goes in as it is: it is what
    X-Webhook-Signature signs."""
    return b'{"id":"%s","eventType":%s,"data":%s,"timestamp":"%s","attempt":%d}' % (
        str(event_id).encode(),
        orjson.dumps(event_type),
        data,
        iso(occurred_at).encode(),
        attempt,
    )
