"""The body of a request to a receiver."""

from datetime import datetime
from uuid import UUID

import orjson

from service.platform.clock import iso


def envelope_body(
    *, event_id: UUID, event_type: str, data: bytes, occurred_at: datetime, attempt: int, sequence: int | None = None
) -> bytes:
    """The bytes of the envelope. The log has all that is needed to make them again. `data` is
    inserted unchanged, because X-Webhook-Signature signs exactly these bytes. `sequence` is None
    for a webhook that does not ask for order, and the envelope then lacks it."""
    return b'{"id":"%s","eventType":%s,"data":%s,"timestamp":"%s","attempt":%d%s}' % (
        str(event_id).encode(),
        orjson.dumps(event_type),
        data,
        iso(occurred_at).encode(),
        attempt,
        b"" if sequence is None else b',"sequence":%d' % sequence,
    )
