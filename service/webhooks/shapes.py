"""Webhooks and their deliveries as the API shows them. The keys are those of the JSON."""

from collections.abc import Mapping
from typing import Annotated, Literal, NotRequired, cast

import asyncpg
import orjson
from pydantic import WithJsonSchema
from typing_extensions import TypeAliasType, TypedDict

from service.api.fields import Text
from service.delivery.origin import origin_of
from service.events.catalogue import CATALOGUE
from service.platform.clock import iso, iso_or_none
from service.webhooks.rules import mask, success_rate

# The type of the entries of `events`, in requests and in answers.
EventType = TypeAliasType("EventType", Annotated[Text, WithJsonSchema({"type": "string", "enum": [*CATALOGUE]})])


class FiltersView(TypedDict):
    """`leaving` is left out unless it is true."""

    locations: list[str]
    categories: list[str]
    minStockThreshold: int | None
    leaving: NotRequired[bool]


class RetryPolicyView(TypedDict):
    maxRetries: int
    retryDelay: int
    schedule: NotRequired[Literal["standard"] | list[int]]


class RateLimitView(TypedDict):
    perSecond: int
    burst: int


class BreakerSummary(TypedDict):
    state: Literal["closed", "open", "half-open"]


class Breaker(BreakerSummary):
    """`nextProbe` may be in the past. The probe is sent once there is something to send."""

    consecutiveFailures: int
    openedAt: str | None
    nextProbe: str | None


class Disabled(TypedDict):
    """When and why a relay made the webhook inactive."""

    at: str
    reason: str


class Statistics(TypedDict):
    """Counts of all deliveries that ever succeeded, failed or expired. Expired ones count as
    failed."""

    totalEvents: int
    successfulDeliveries: int
    failedDeliveries: int
    successRate: str
    lastDelivery: str | None
    lastFailure: str | None


class _Webhook(TypedDict):
    id: str
    url: str
    events: list[EventType]
    active: bool
    filters: FiltersView
    statistics: Statistics
    createdAt: str
    updatedAt: str


class Owner(TypedDict):
    id: str
    username: str


class Summary(_Webhook):
    owner: Owner
    breaker: BreakerSummary


class _Overlap(TypedDict, total=False):
    overlapUntil: str


class Detail(_Webhook, _Overlap):
    """`blockedItems` is how many items are blocked by a failed event. At most 10,000 are counted.
    During the overlap after a rotation, `overlapUntil` says until when the previous secret signs,
    too. Otherwise it is left out."""

    description: str | None
    headers: dict[str, str]
    retryPolicy: RetryPolicyView
    timeout: int
    rateLimit: RateLimitView | None
    breaker: Breaker
    failingSince: str | None
    pausedUntil: str | None
    disabled: Disabled | None
    ordering: Literal["item"] | None
    onFailure: Literal["block", "skip"] | None
    blockedItems: int


class Created(Detail):
    secret: str


class HttpResponse(TypedDict):
    statusCode: int
    body: str


class DeliveryView(TypedDict):
    """`sequence` is the number in the order of the item. It is left out unless the webhook asked
    for order when the delivery was queued. A delivery that waits for its turn is pending and has no
    `nextRetry`."""

    id: str
    eventType: str
    data: object
    deliveryStatus: str
    deliveryAttempts: int
    lastAttempt: str | None
    nextRetry: str | None
    httpResponse: HttpResponse | None
    error: str | None
    createdAt: str
    sequence: NotRequired[int]


class Stats(TypedDict):
    """If more deliveries are pending than are counted, `pendingCountIsMinimum` is true. Otherwise
    it is left out."""

    totalEvents: int
    successfulDeliveries: int
    failedDeliveries: int
    successCount: int
    failedCount: int
    pendingCount: int
    pendingCountIsMinimum: NotRequired[Literal[True]]
    successRate: str
    lastDelivery: str | None
    lastFailure: str | None


class TestResult(TypedDict):
    success: bool
    statusCode: int | None
    message: str
    error: NotRequired[str]


class Retried(TypedDict):
    id: str
    eventType: str
    deliveryStatus: str
    deliveryAttempts: int
    message: str


def statistics(row: asyncpg.Record | None) -> Statistics:
    """`row` is None if no delivery has ended yet."""
    succeeded, failed = (row["succeeded"], row["failed"]) if row else (0, 0)
    return {
        "totalEvents": succeeded + failed,
        "successfulDeliveries": succeeded,
        "failedDeliveries": failed,
        "successRate": success_rate(succeeded, failed),
        "lastDelivery": iso_or_none(row["last_delivery"]) if row else None,
        "lastFailure": iso_or_none(row["last_failure"]) if row else None,
    }


def summary(row: asyncpg.Record, counted: Statistics, health: asyncpg.Record | None) -> Summary:
    return {
        **_webhook(row, counted),
        "owner": {"id": str(row["owner_id"]), "username": row["owner_username"]},
        "breaker": {"state": _breaker(health)["state"]},
    }


def _webhook(row: asyncpg.Record, counted: Statistics) -> _Webhook:
    return {
        "id": str(row["id"]),
        "url": row["url"],
        "events": row["events"],
        "active": row["active"],
        "filters": _filters(row),
        "statistics": counted,
        "createdAt": iso(row["created_at"]),
        "updatedAt": iso(row["updated_at"]),
    }


def _filters(row: asyncpg.Record) -> FiltersView:
    filters: FiltersView = {
        "locations": [str(place) for place in row["filter_locations"]],
        "categories": [str(category) for category in row["filter_categories"]],
        "minStockThreshold": row["min_stock_threshold"],
    }
    if row["filter_leaving"]:
        filters["leaving"] = True
    return filters


def detail(
    row: asyncpg.Record,
    headers: Mapping[str, str],
    counted: Statistics,
    health: asyncpg.Record | None,
    blocked_items: int = 0,
) -> Detail:
    """`health` is a row of the statement webhooks.health, or None if nothing is known of the
    receiver."""
    return {
        **_webhook(row, counted),
        "description": row["description"],
        "headers": mask(headers),
        "retryPolicy": _retry_policy(row),
        "timeout": row["timeout_ms"],
        "rateLimit": None
        if row["rate_per_second"] is None
        else {"perSecond": row["rate_per_second"], "burst": row["rate_burst"]},
        "ordering": row["ordering"],
        "onFailure": row["on_failure"],
        "blockedItems": blocked_items,
        "breaker": _breaker(health),
        "failingSince": iso_or_none(health["failing_since"]) if health else None,
        "pausedUntil": iso_or_none(health["paused_until"]) if health else None,
        "disabled": None
        if row["disabled_at"] is None
        else {"at": iso(row["disabled_at"]), "reason": row["disabled_reason"]},
        **_overlap(row),
    }


def _overlap(row: asyncpg.Record) -> _Overlap:
    return {} if row["overlap_until"] is None else {"overlapUntil": iso(row["overlap_until"])}


def created(shown: Detail, secret: str) -> Created:
    """The webhook with its secret. No other answer shows a secret."""
    return cast(Created, dict(shown) | {"secret": secret})


def _breaker(health: asyncpg.Record | None) -> Breaker:
    if health is None:
        return {"state": "closed", "consecutiveFailures": 0, "openedAt": None, "nextProbe": None}
    return {
        "state": health["breaker"],
        "consecutiveFailures": health["failures"],
        "openedAt": iso_or_none(health["opened_at"]),
        "nextProbe": iso_or_none(health["probe_at"]),
    }


def _retry_policy(row: asyncpg.Record) -> RetryPolicyView:
    """Without a schedule, the policy has only the two keys that clients of the Node system know."""
    policy: RetryPolicyView = {"maxRetries": row["max_retries"], "retryDelay": row["retry_delay_ms"]}
    if schedule := row["retry_ladder"] or row["retry_delays_ms"]:
        policy["schedule"] = schedule
    return policy


# Keys whose values change with the deliveries or with time, and not when the owner changes the
# webhook.
_VOLATILE = frozenset({"statistics", "blockedItems", "breaker", "failingSince", "pausedUntil", "overlapUntil"})


def audited(row: asyncpg.Record, headers: Mapping[str, str] | None) -> dict[str, object]:
    """The webhook as the audit trail keeps it. Left out are the secret, the path and query of the
    URL, the values of the headers, all counts, and the health of the receiver. `headers` is None if
    they were not unsealed."""
    shown = detail(row, headers or {}, statistics(None), None)
    left_out = _VOLATILE | {"updatedAt"} | ({"headers"} if headers is None else set())
    kept = {name: value for name, value in shown.items() if name not in left_out}
    return kept | {"url": origin_of(row["url"])}


def configuration(row: asyncpg.Record) -> dict[str, object]:
    """The configuration of which a webhook's ETag is made. It has what the owner gave, and no
    counts, which change with each delivery. The headers need not be unsealed, because a change of
    them also changes `updatedAt`."""
    return {**audited(row, None), "url": row["url"], "updatedAt": row["updated_at"].isoformat()}


def delivery(row: asyncpg.Record) -> DeliveryView:
    status = row["http_status"]
    view: DeliveryView = {
        "id": str(row["event_id"]),
        "eventType": row["event_type"],
        # The text that was signed is shown unchanged.
        "data": None if row["data"] is None else orjson.Fragment(row["data"]),
        "deliveryStatus": row["status"],
        "deliveryAttempts": row["attempt"],
        "lastAttempt": iso_or_none(row["started_at"]),
        "nextRetry": iso_or_none(row["next_attempt_at"]),
        "httpResponse": None
        if status is None
        else {"statusCode": status, "body": (row["response_body"] or b"").decode("utf-8", "replace")},
        "error": row["error"],
        "createdAt": iso(row["occurred_at"]),
    }
    if row["sequence"] is not None:
        view["sequence"] = row["sequence"]
    return view
