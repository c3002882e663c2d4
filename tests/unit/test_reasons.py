"""The reasons that hold back a queued delivery, and which of them comes first."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from service.webhooks.reasons import reason_of

NOW = datetime(2026, 2, 18, 9, 30, tzinfo=UTC)
SOON, LATER = NOW + timedelta(seconds=30), NOW + timedelta(minutes=5)
WEBHOOK: dict[str, Any] = {
    "active": True,
    "disabled_at": None,
    "disabled_reason": None,
    "created_at": NOW - timedelta(days=1),
    "updated_at": NOW - timedelta(days=1),
    "events": ["item-created"],
    "filter_locations": [],
    "filter_categories": [],
    "min_stock_threshold": None,
}
QUEUED: dict[str, Any] = {
    "queued": True,
    "sending": False,
    "discarded": False,
    "owner_active": True,
    "attempts": 2,
    "next_attempt_at": NOW,
    "due": True,
    "opened_at": None,
    "probe_at": None,
    "goes_as_probe": False,
    "paused_until": None,
    "token_at": None,
    "waits": False,
}
NEVER_QUEUED: dict[str, Any] = {
    "queued": False,
    "outcome": None,
    "readable": True,
    "recorded_at": NOW,
    "event_type": "item-created",
    "location_ids": [],
    "category_id": None,
    "stock": None,
}
OPEN = {"opened_at": NOW - timedelta(minutes=1), "probe_at": SOON}
PAUSED = {"paused_until": LATER}
USED_UP = {"token_at": SOON}
DISABLED = {"active": False, "disabled_at": NOW, "disabled_reason": "the receiver answered 410"}
INACTIVE = {"active": False}


@pytest.mark.parametrize(
    ("webhook", "facts", "name", "at"),
    [
        ({}, {}, "pending", NOW),
        ({}, OPEN, "breaker_open", SOON),
        ({}, {**OPEN, **PAUSED}, "breaker_open", SOON),
        ({}, {**OPEN, "goes_as_probe": True}, "pending", NOW),
        ({}, PAUSED, "paused", LATER),
        ({}, {**PAUSED, "next_attempt_at": LATER, "due": False}, "pending", LATER),
        ({}, USED_UP, "rate_limited", SOON),
        ({}, {**USED_UP, "next_attempt_at": SOON, "due": False}, "pending", SOON),
        ({}, {**USED_UP, **PAUSED}, "paused", LATER),
        ({}, {**USED_UP, **OPEN, "goes_as_probe": True}, "pending", NOW),
        (INACTIVE, USED_UP, "parked", NOW),
        ({}, {**OPEN, **PAUSED, "sending": True}, "sending", None),
        ({}, {**OPEN, "discarded": True}, "cancelled", None),
        ({}, {**OPEN, "owner_active": False}, "parked", NOW),
        (INACTIVE, OPEN, "parked", NOW),
        (DISABLED, {**OPEN, **PAUSED}, "disabled", NOW),
        (DISABLED, {"owner_active": False}, "disabled", NOW),
    ],
)
def test_what_holds_a_delivery_back_is_said_and_the_strongest_of_it_first(
    webhook: dict[str, Any], facts: dict[str, Any], name: str, at: datetime | None
) -> None:
    reason = reason_of({**WEBHOOK, **webhook}, {**QUEUED, **facts})
    assert (reason.name, reason.basis, reason.at) == (name, "log", at)
    assert reason.attempt == (3 if name == "sending" else 2)


def test_the_reason_quotes_since_when_and_until_when() -> None:
    opened = reason_of(WEBHOOK, {**QUEUED, **OPEN}).detail
    assert "2026-02-18T09:29:00.000Z" in opened
    assert "2026-02-18T09:30:30.000Z" in opened
    assert "2026-02-18T09:35:00.000Z" in reason_of(WEBHOOK, {**QUEUED, **PAUSED}).detail
    assert "2026-02-18T09:30:30.000Z" in reason_of(WEBHOOK, {**QUEUED, **USED_UP}).detail
    disabled = reason_of({**WEBHOOK, **DISABLED}, QUEUED).detail
    assert "2026-02-18T09:30:00.000Z" in disabled
    assert "the receiver answered 410" in disabled


@pytest.mark.parametrize(("webhook", "name"), [(DISABLED, "disabled"), (INACTIVE, "webhook_inactive")])
def test_what_was_never_queued_for_a_disabled_webhook_was_not_for_that(webhook: dict[str, Any], name: str) -> None:
    reason = reason_of({**WEBHOOK, **webhook}, NEVER_QUEUED)
    assert (reason.name, reason.basis) == (name, "configuration")
    other = reason_of({**WEBHOOK, **webhook}, {**NEVER_QUEUED, "event_type": "item-deleted"})
    assert other.name == "not_subscribed"
