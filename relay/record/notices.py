"""Notices: events about the owner's own webhooks, which the relay itself writes into the outbox.
The delivery of a notice causes no further notices."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from relay.rules.breaker import DisableReason
from service.delivery.origin import origin_of
from service.platform import canonical
from service.platform.clock import iso

DISABLED = "webhook-disabled"
RECOVERED = "webhook-recovered"
FAILED = "delivery-failed"
OPERATIONAL = frozenset({DISABLED, RECOVERED, FAILED})
# Events that the service writes about a webhook cause no notices either.
ABOUT_WEBHOOKS = OPERATIONAL | {"secret-rotated"}
_MAX_ERROR_CHARS = 500


@dataclass(frozen=True, slots=True)
class Notice:
    """`data` is the text that is signed and sent."""

    type: str
    data: str


class Row(Protocol):
    """A row of a statement, or a stand-in for one."""

    def __getitem__(self, name: str, /) -> Any: ...


def why_disabled(reason: DisableReason, failing_since: datetime) -> str:
    if reason == "gone":
        return "the receiver answered 410: it will take nothing any more"
    return f"every attempt has failed since {iso(failing_since)}"


def disabled(row: Row, reason: DisableReason, detail: str, failing_since: datetime) -> Notice:
    return _notice(
        DISABLED,
        row,
        reason=reason,
        detail=detail,
        failingSince=iso(failing_since),
        timestamp=iso(row["now"]),
    )


def recovered(row: Row) -> Notice:
    """`row`: the health as it was while the breaker was open."""
    return _notice(
        RECOVERED,
        row,
        failures=row["failures"],
        failingSince=iso(row["failing_since"]),
        openedAt=iso(row["opened_at"]),
        timestamp=iso(row["now"]),
    )


def delivery_failed(row: Row) -> Notice:
    """`row`: one of those that `take_announcements` in settle.sql returns."""
    return _notice(
        FAILED,
        row,
        count=row["unannounced"],
        skipped=row["unannounced_skips"],
        lastEventId=str(row["event_id"]) if row["event_id"] else None,
        lastEventType=row["event_type"],
        lastError=(row["error"] or "")[:_MAX_ERROR_CHARS] or None,
        timestamp=iso(row["now"]),
    )


def _notice(event_type: str, row: Row, **data: Any) -> Notice:
    about = {"webhookId": str(row["webhook_id"]), "userId": str(row["owner_id"]), "url": origin_of(row["url"])}
    return Notice(event_type, canonical.dumps(about | data))
