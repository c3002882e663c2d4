"""The request that a receiver gets: body and headers."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from relay.send.target import Target
from service import __version__
from service.delivery.envelope import envelope_body
from service.platform import trace

USER_AGENT = f"Jossiedb-Webhooks/{__version__}"


@dataclass(frozen=True, slots=True)
class Envelope:
    body: bytes
    headers: dict[str, str]


def envelope(
    target: Target,
    *,
    event_id: UUID,
    event_type: str,
    data: bytes,
    occurred_at: datetime,
    attempt: int,
    timestamp: int,
    sequence: int | None = None,
    traceparent: str | None = None,
) -> Envelope:
    """The bytes that are sent. `timestamp`: the time of this attempt in Unix seconds, by the
    database's clock. `traceparent`: that of the request that caused the event. This attempt
    continues its trace."""
    body = envelope_body(
        event_id=event_id,
        event_type=event_type,
        data=data,
        occurred_at=occurred_at,
        attempt=attempt,
        sequence=sequence,
    )
    event = str(event_id)
    signatures = target.signer.message(event, timestamp, body)
    if (second := target.second_signer(timestamp)) is not None:
        signatures = f"{signatures} {second.message(event, timestamp, body)}"
    headers = {
        **target.headers,
        "Content-Type": "application/json",
        "User-Agent": USER_AGENT,
        "X-Webhook-Signature": (second or target.signer).data(data),
        "X-Webhook-ID": str(target.webhook_id),
        "X-Event-Type": event_type,
        "webhook-id": event,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signatures,
    }
    if (continued := trace.child(traceparent)) is not None:
        headers["traceparent"] = continued
    return Envelope(body, headers)


def shown_headers(target: Target, sent: Envelope) -> str:
    """The request's headers for the log, as JSON. The values of the owner's headers and the
    signatures are not shown."""
    headers = sent.headers
    # The JSON is put together by hand, because this runs for each attempt. These values are ids,
    # numbers and types, so nothing in them needs an escape.
    trace_context = f',"traceparent":"{headers["traceparent"]}"' if "traceparent" in headers else ""
    return (
        f'{{{target.masked_headers}"Content-Type":"application/json","User-Agent":"{USER_AGENT}","X-Webhook-Signature":"[set]",'
        f'"X-Webhook-ID":"{headers["X-Webhook-ID"]}","X-Event-Type":"{headers["X-Event-Type"]}",'
        f'"webhook-id":"{headers["webhook-id"]}","webhook-timestamp":"{headers["webhook-timestamp"]}",'
        f'"webhook-signature":"[set]"{trace_context}}}'
    )
