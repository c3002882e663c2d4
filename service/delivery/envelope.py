"""The body of a request to a receiver."""

from datetime import datetime
from uuid import UUID

import orjson

from service.platform.clock import iso


def envelope_body(
    *, event_id: UUID, event_type: str, data: bytes, occurred_at: datetime, attempt: int, sequence: int | None = None
) -> bytes:
    """The bytes that are sent, and that can be made again from the log. `data` goes in as it is: it is what
    X-Webhook-Signature signs. `sequence` is there only where the webhook asks for order."""
    return b'{"id":"%s","eventType":%s,"data":%s,"timestamp":"%s","attempt":%d%s}' % (
        str(event_id).encode(),
        orjson.dumps(event_type),
        data,
        iso(occurred_at).encode(),
        attempt,
        b"" if sequence is None else b',"sequence":%d' % sequence,
    )
