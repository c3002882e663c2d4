"""How webhooks and their deliveries are shown. Keys are the wire's."""

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

# The one type of `events`, in what is taken and in what is shown.
EventType = TypeAliasType("EventType", Annotated[Text, WithJsonSchema({"type": "string", "enum": [*CATALOGUE]})])


class FiltersView(TypedDict):
    """`leaving` is there only where it is asked for."""

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
    """`nextProbe` may be past: the probe goes when there is something to send."""

    consecutiveFailures: int
    openedAt: str | None
    nextProbe: str | None


class Disabled(TypedDict):
    """A relay made the webhook inactive."""

    at: str
    reason: str


class Statistics(TypedDict):
    """Of all deliveries that ever ended."""

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
    """`blockedItems`: how many items have events that wait for one that failed; at most 10,000 are counted. `overlapUntil`: until
    then the secret before the present one signs, too; only where one does."""

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
    """`sequence`: its number among its item's, where the webhook asked for order when it was queued. One of those that waits for
    its turn is pending and has no `nextRetry`."""

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
    """`pendingCountIsMinimum` is true, and there, where more wait than are counted."""

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
    """None: nothing has ended yet."""
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
    """`health`: a row of webhooks.health. None: nothing is known of its receiver."""
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
    """With the secret, which nothing else shows."""
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
    """Without a schedule it has the two keys that clients of the Node system know."""
    policy: RetryPolicyView = {"maxRetries": row["max_retries"], "retryDelay": row["retry_delay_ms"]}
    if schedule := row["retry_ladder"] or row["retry_delays_ms"]:
        policy["schedule"] = schedule
    return policy


# What changes with the deliveries, or with time, and not by what its owner gives.
_VOLATILE = frozenset({"statistics", "blockedItems", "breaker", "failingSince", "pausedUntil", "overlapUntil"})


def audited(row: asyncpg.Record, headers: Mapping[str, str] | None) -> dict[str, object]:
    """What the audit trail keeps: all but the secret, the URL behind its host, the headers' values, what is counted, and what is
    known of the receiver. `headers` is None where nobody looked at them."""
    shown = detail(row, headers or {}, statistics(None), None)
    left_out = _VOLATILE | {"updatedAt"} | ({"headers"} if headers is None else set())
    kept = {name: value for name, value in shown.items() if name not in left_out}
    return kept | {"url": origin_of(row["url"])}


def configuration(row: asyncpg.Record) -> dict[str, object]:
    """What a webhook's ETag stands for: what its owner gave, and not what is counted, which changes with each delivery. The
    headers stay sealed; the exact time of the last change tells of them, too."""
    return {**audited(row, None), "url": row["url"], "updatedAt": row["updated_at"].isoformat()}


def delivery(row: asyncpg.Record) -> DeliveryView:
    status = row["http_status"]
    view: DeliveryView = {
        "id": str(row["event_id"]),
        "eventType": row["event_type"],
        # The text that was signed goes out as it is.
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
