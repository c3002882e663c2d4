"""A delivery with its attempts, as the API shows them."""

from collections.abc import Sequence
from typing import Literal, NotRequired
from uuid import UUID

import asyncpg
import orjson
from typing_extensions import TypedDict

from service.api.slices import in_slices
from service.delivery.envelope import envelope_body
from service.platform.clock import iso, iso_or_none
from service.webhooks.shapes import DeliveryView, delivery

MOST_ATTEMPTS = 100
_US_IN_MS = 1000


class AttemptRequest(TypedDict):
    url: str
    headers: dict[str, str]
    body: str | None


class AttemptResponse(TypedDict):
    statusCode: int
    headers: list[tuple[str, str]]
    body: str


class Timings(TypedDict):
    """In milliseconds. A phase is null if it was not reached, or if a kept connection did not need
    it."""

    dns: float | None
    connect: float | None
    tls: float | None
    firstByte: float | None
    total: float | None


class AttemptView(TypedDict):
    """`request` is null for an end without a request: the delivery was cancelled, expired, skipped,
    or given up before anything was sent."""

    attempt: int
    outcome: str
    startedAt: str | None
    recordedAt: str
    request: AttemptRequest | None
    response: AttemptResponse | None
    error: str | None
    timings: Timings | None
    nextRetry: str | None


class DeliveryDetail(DeliveryView):
    """`attempts` are the latest 100. If there are more, as after many manual retries,
    `earlierAttempts` is true. Otherwise it is left out."""

    attempts: list[AttemptView]
    earlierAttempts: NotRequired[Literal[True]]


class DeliveryReply(TypedDict):
    event: DeliveryDetail


async def delivery_detail(row: asyncpg.Record, attempts: Sequence[asyncpg.Record]) -> DeliveryDetail:
    """`attempts` are the latest attempts, newest first. There is one more than MOST_ATTEMPTS if
    there are older ones. Each may hold 64 KiB that were sent, so they are made in slices."""
    latest = attempts[:MOST_ATTEMPTS][::-1]
    detail: DeliveryDetail = {
        **delivery(row),  # type: ignore[typeddict-item]  # the key that is not required is set below
        "attempts": await in_slices(latest, lambda attempt: _attempt(row, attempt)),
    }
    if len(attempts) > MOST_ATTEMPTS:
        detail["earlierAttempts"] = True
    return detail


def _attempt(event: asyncpg.Record, row: asyncpg.Record) -> AttemptView:
    return {
        "attempt": row["attempt"],
        "outcome": row["outcome"],
        "startedAt": iso_or_none(row["started_at"]),
        "recordedAt": iso(row["recorded_at"]),
        "request": None if row["url"] is None else _request(event, row),
        "response": None if row["status"] is None else _response(row),
        "error": row["error"],
        "timings": None if row["total_us"] is None else _timings(row),
        "nextRetry": iso_or_none(row["next_attempt_at"]),
    }


def _request(event: asyncpg.Record, row: asyncpg.Record) -> AttemptRequest:
    event_id: UUID = event["event_id"]
    headers = orjson.loads(row["request_headers"])
    if event["data"] is None:
        return {"url": row["url"], "headers": headers, "body": None}
    body = envelope_body(
        event_id=event_id,
        event_type=event["event_type"],
        data=event["data"].encode(),
        occurred_at=event["occurred_at"],
        attempt=row["attempt"],
        sequence=row["sequence"],
    )
    return {"url": row["url"], "headers": headers, "body": body.decode()}


def _response(row: asyncpg.Record) -> AttemptResponse:
    return {
        "statusCode": row["status"],
        "headers": _headers(row["response_headers"] or b""),
        "body": (row["response_body"] or b"").decode("utf-8", "replace"),
    }


def _headers(raw: bytes) -> list[tuple[str, str]]:
    """Name and value of each header in the order of the answer. A name may occur several times. The
    kept part of the answer may break off within a header."""
    lines = raw.decode("latin-1").split("\r\n") if raw else []
    return [(name, value) for name, _, value in (line.partition(": ") for line in lines)]


def _timings(row: asyncpg.Record) -> Timings:
    def ms(name: str) -> float | None:
        return None if row[name] is None else row[name] / _US_IN_MS

    return {
        "dns": ms("dns_us"),
        "connect": ms("connect_us"),
        "tls": ms("tls_us"),
        "firstByte": ms("first_byte_us"),
        "total": ms("total_us"),
    }
