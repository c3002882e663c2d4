"""The reason why an event was or was not delivered to a webhook. The functions are pure. They take
facts and return a reason."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from service.delivery.subject import departure, is_departure
from service.platform.clock import iso

ReasonName = Literal[
    "delivered",
    "pending",
    "sending",
    "parked",
    "disabled",
    "breaker_open",
    "paused",
    "rate_limited",
    "behind_another",
    "blocked",
    "failed",
    "cancelled",
    "expired",
    "not_readable_by_owner",
    "created_later",
    "not_subscribed",
    "webhook_inactive",
    "filtered",
    "not_recorded",
    "not_fanned_out_yet",
    "set_aside",
]
Basis = Literal["log", "configuration"]
FilterName = Literal["locations", "categories", "minStockThreshold"]
LOW_STOCK = "low-stock-alert"


@dataclass(frozen=True, slots=True)
class Filtered:
    """A filter that held an event back, with the values that it wants and those that the event
    has."""

    name: FilterName
    wanted: Any
    found: Any


@dataclass(frozen=True, slots=True)
class Reason:
    """A reason with the `basis` "log" is a fact, from the log or the queue. One with the `basis`
    "configuration" follows from the present configuration, which may have been different when the
    event was fanned out. `at` is the time that the reason is about."""

    name: ReasonName
    basis: Basis
    detail: str
    at: datetime | None = None
    attempt: int | None = None
    filter: Filtered | None = None


def reason_of(webhook: Mapping[str, Any], facts: Mapping[str, Any]) -> Reason:
    """`webhook` is its row. `facts` is a row of the statement explain.facts."""
    if facts["queued"]:
        return _of_queue(webhook, facts)
    if facts["outcome"] is not None:
        return _of_end(facts)
    # This comes before all reasons that show something of the event. An owner who may not read an
    # event must learn nothing about it.
    if not facts["readable"]:
        return Reason(
            "not_readable_by_owner", "configuration", "the webhook's owner may not read what this event is about"
        )
    return _of_configuration(webhook, facts)


def _of_queue(webhook: Mapping[str, Any], facts: Mapping[str, Any]) -> Reason:
    attempts, due_at = facts["attempts"], facts["next_attempt_at"]
    if facts["sending"]:
        return Reason("sending", "log", f"attempt {attempts + 1} is under way", None, attempts + 1)
    if facts["discarded"]:
        return Reason(
            "cancelled", "log", "no longer wanted by its webhook; it is about to leave the queue", None, attempts
        )
    if webhook["disabled_at"] is not None:
        return Reason(
            "disabled", "log", f"it waits until the webhook is active again: {_disabled(webhook)}", due_at, attempts
        )
    if not webhook["active"]:
        return Reason("parked", "log", "it waits until the webhook is active again", due_at, attempts)
    if not facts["owner_active"]:
        return Reason("parked", "log", "it waits, as the webhook's owner is suspended", due_at, attempts)
    if facts["waits"]:
        return _of_order(facts)
    if (obstacle := _obstacle(facts)) is not None:
        return obstacle
    when = "is due now" if facts["due"] else f"is due at {iso(due_at)}"
    return Reason("pending", "log", f"attempt {attempts + 1} {when}", due_at, attempts)


def _obstacle(facts: Mapping[str, Any]) -> Reason | None:
    """The reason why a delivery that has its turn is not sent: the breaker, a pause or the rate
    limit.

    A manual retry passes an open breaker, but not a pause. A pause does not hold a delivery back
    that is due only after it. Nor does a rate limit whose next token comes before the delivery is
    due."""
    attempts, due_at = facts["attempts"], facts["next_attempt_at"]
    if facts["opened_at"] is not None:
        if facts["goes_as_probe"]:
            return None
        probe_at, since = facts["probe_at"], iso(facts["opened_at"])
        return Reason(
            "breaker_open",
            "log",
            f"the receiver kept failing, and the breaker has been open since {since}: but for one delivery as a probe, nothing"
            f" is sent before {iso(probe_at)}",
            probe_at,
            attempts,
        )
    until = facts["paused_until"]
    if until is not None and until > due_at:
        detail = f"the receiver asked to be sent less, and nothing is sent before {iso(until)}"
        return Reason("paused", "log", detail, until, attempts)
    token_at = facts["token_at"]
    if token_at is not None and token_at > due_at:
        detail = f"the webhook's rateLimit is used up, and the next request goes no sooner than {iso(token_at)}"
        return Reason("rate_limited", "log", detail, token_at, attempts)
    return None


def _disabled(webhook: Mapping[str, Any]) -> str:
    return f"it was disabled at {iso(webhook['disabled_at'])}, as {webhook['disabled_reason']}"


def _of_order(facts: Mapping[str, Any]) -> Reason:
    """The reason of a delivery that waits for its turn in the order of its item."""
    attempts, blocked_by = facts["attempts"], facts["blocked_by"]
    if blocked_by is not None:
        why = f"its item is blocked by the failed event {blocked_by}, until that is retried with success or skipped"
        return Reason("blocked", "log", why, None, attempts)
    return Reason(
        "behind_another", "log", f"it waits behind the event {facts['behind']} of the same item", None, attempts
    )


def _of_end(facts: Mapping[str, Any]) -> Reason:
    attempt, error, at = facts["attempt"], facts["error"], facts["ended_at"]
    match facts["outcome"]:
        case "success":
            return Reason("delivered", "log", f"delivered at {iso(at)} by attempt {attempt}", at, attempt)
        case "failed":
            blocks = "; the later events of its item wait until it is retried or skipped" if facts["blocks"] else ""
            return Reason("failed", "log", (error or "failed") + blocks, at, attempt)
        case "cancelled":
            return Reason("cancelled", "log", error or "cancelled", at, attempt)
        case "expired":
            return Reason("expired", "log", error or "expired", at, attempt)
    raise AssertionError(f"{facts['outcome']} ends no delivery")


def _of_configuration(webhook: Mapping[str, Any], facts: Mapping[str, Any]) -> Reason:
    routed, changed = facts["recorded_at"], webhook["updated_at"]
    if webhook["created_at"] > routed:
        return Reason(
            "created_later",
            "log",
            f"the webhook was created at {iso(webhook['created_at'])}, after the event was routed at {iso(routed)}",
            webhook["created_at"],
        )
    since = f"; the webhook was changed at {iso(changed)}, after the event was routed" if changed > routed else ""
    if facts["event_type"] not in webhook["events"]:
        return Reason("not_subscribed", "configuration", f"the webhook does not name {facts['event_type']}{since}")
    if webhook["disabled_at"] is not None:
        return Reason(
            "disabled",
            "configuration",
            f"the webhook is not active: {_disabled(webhook)}{since}",
            webhook["disabled_at"],
        )
    if not webhook["active"]:
        return Reason("webhook_inactive", "configuration", f"the webhook is not active{since}")
    if (held_back := _filter(webhook, facts)) is not None:
        detail = f"the filter {held_back.name} does not let it through{since}"
        return Reason("filtered", "configuration", detail, filter=held_back)
    return Reason(
        "not_recorded",
        "configuration",
        "as the webhook is now it would get this event, and nothing is on record: it was not queued when it was routed at"
        f" {iso(routed)}, as webhook or owner were different then, or its attempts have left the history{since}",
        routed,
    )


def _filter(webhook: Mapping[str, Any], facts: Mapping[str, Any]) -> Filtered | None:
    """The first filter that holds the event back, by the rules of fan-out. An event that lacks the
    property in question passes a filter."""
    wanted, found = webhook["filter_locations"], facts["location_ids"]
    leaving = {UUID(departure(str(place))) for place in wanted} if webhook.get("filter_leaving") else set()
    if wanted and found and not (set(wanted) | leaving) & set(found):
        places = [str(place) for place in found if not is_departure(place)]
        return Filtered("locations", [str(place) for place in wanted], places)
    kinds, kind = webhook["filter_categories"], facts["category_id"]
    if kinds and kind is not None and kind not in kinds:
        return Filtered("categories", [str(category) for category in kinds], str(kind))
    threshold, stock = webhook["min_stock_threshold"], facts["stock"]
    # As in fan-out, an alert without its stock passes no threshold: a comparison with null is not
    # true.
    if threshold is not None and facts["event_type"] == LOW_STOCK and (stock is None or stock >= threshold):
        return Filtered("minStockThreshold", threshold, stock)
    return None
