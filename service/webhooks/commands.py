"""The commands that create, change and delete webhooks. Each is one transaction."""

import hmac
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg
import orjson

from service.api.call import Principal
from service.delivery import sign
from service.mutation import Mutation, command
from service.platform.errors import BadRequest, FieldError
from service.platform.ids import new_id
from service.platform.queries import Executor, Statement, load
from service.platform.settings import Settings
from service.platform.vault import SealBroken, Vault
from service.webhooks import order
from service.webhooks.access import ENTITY, open_headers, own
from service.webhooks.bodies import CreateWebhook, Filters, RateLimit, UpdateWebhook
from service.webhooks.bodies import RetryPolicy as WantedPolicy
from service.webhooks.rules import (
    MASK,
    OrderPolicy,
    RetryPolicy,
    UnknownMasked,
    check_schedule,
    merge_order,
    merge_retry_policy,
    unmask,
)
from service.webhooks.shapes import Created, Detail, audited, configuration, created, detail, statistics

_SQL = load("webhooks")
# A webhook's row or, for a new webhook, the default values of its columns.
Row: TypeAlias = "asyncpg.Record | Mapping[str, Any]"


@command("create")
async def create(
    change: Mutation, vault: Vault, settings: Settings, owner: Principal, wanted: CreateWebhook
) -> tuple[Created, dict[str, object]]:
    """Creates a webhook. Returns it with its secret, which is never shown again, and the
    configuration of which its ETag is made. Raises BadRequest."""
    _check_scheme(settings, wanted.url)
    webhook_id = new_id()
    secret = wanted.secret or sign.new_secret()
    headers = _resolve_headers(wanted.headers or {}, {})
    await _SQL.insert.execute(
        change,
        id=webhook_id,
        owner_id=owner.user_id,
        secret_sealed=vault.seal(secret.encode(), webhook_id.bytes),
        headers_sealed=_seal_headers(vault, webhook_id, headers),
        **await _columns(change, settings, _defaults(settings), wanted),
    )
    row = await _SQL.get.fetchrow(change, id=webhook_id)
    assert row is not None
    change.audit(ENTITY, webhook_id, None, audited(row, headers))
    return created(detail(row, headers, statistics(None), None), secret), configuration(row)


@command("update", of=3)
async def update(
    change: Mutation,
    vault: Vault,
    settings: Settings,
    user: Principal,
    webhook_id: UUID,
    wanted: UpdateWebhook,
) -> tuple[Detail, dict[str, object]]:
    """Changes what was given. Returns the webhook, and the configuration of which its ETag is made.
    If nothing differs, the webhook keeps its `updatedAt` and its ETag.

    If the body makes the webhook active, its receiver's health is reset, and relays are notified of
    its lane. This also applies to a webhook that is active already. Raises NotFound, Forbidden,
    PreconditionFailed, BadRequest."""
    if wanted.url is not None:
        _check_scheme(settings, wanted.url)
    before = own(await _SQL.lock.fetchrow(change, id=webhook_id), user)
    change.check_match(configuration(before))
    if wanted.secret is not None:
        await _check_secret(change, vault, webhook_id, wanted.secret)
    new_headers = wanted.headers or {}
    kept: dict[str, str] | None = None
    try:
        kept = open_headers(vault, before)
    except SealBroken:
        # If all headers are given anew, none of the old ones is needed.
        if "headers" not in wanted.model_fields_set or MASK in new_headers.values():
            raise
    headers = _resolve_headers(new_headers, kept or {}) if "headers" in wanted.model_fields_set else kept or {}
    discard = wanted.pending == "discard"
    values = await _columns(change, settings, before, wanted)
    # Unchanged headers keep their sealed text. Sealed again, they would count as a change.
    values["headers_sealed"] = (
        before["headers_sealed"] if headers == kept else _seal_headers(vault, webhook_id, headers)
    )
    row: asyncpg.Record | None = before
    if discard or any(before[name] != value for name, value in values.items()):
        await _SQL.update.execute(change, id=webhook_id, discard=discard, **values)
        row = await _SQL.get.fetchrow(change, id=webhook_id)
    assert row is not None
    # If the webhook no longer blocks items, or discards its pending deliveries, its blocked
    # items are released.
    freed = (row["on_failure"] != "block" or discard) and await order.skip_all(
        change, webhook_id, "skipped: its webhook was changed and does not wait for it"
    )
    if wanted.active:
        await _SQL.reset_health.execute(change, webhook_id=webhook_id)
    if wanted.active or freed:
        await _SQL.wake_lane.execute(change, webhook_id=webhook_id)
    change.audit(ENTITY, webhook_id, audited(before, kept), audited(row, headers))
    counted = await _SQL.statistics.fetchrow(change, ids=[webhook_id])
    health = await _SQL.health.fetchrow(change, ids=[webhook_id])
    blocked = await order.count_blocked(change, webhook_id)
    return detail(row, headers, statistics(counted), health, blocked), configuration(row)


@command("delete", of=1)
async def delete(change: Mutation, user: Principal, webhook_id: UUID) -> None:
    """Deletes the webhook at once. A relay ends its pending deliveries in batches. Raises NotFound,
    Forbidden, PreconditionFailed."""
    row = own(await change.read(_SQL.get_to_change, _SQL.lock, id=webhook_id), user)
    change.check_match(configuration(row))
    change.write(_SQL.delete, id=webhook_id)
    # The headers stay sealed, so a webhook can be deleted even if its key was lost.
    change.audit(ENTITY, webhook_id, audited(row, None), None)


def _defaults(settings: Settings) -> dict[str, object]:
    """The columns of a new webhook for which its owner gives nothing."""
    return {
        "active": True,
        "description": None,
        "timeout_ms": settings.webhook_timeout,
        "filter_locations": [],
        "filter_categories": [],
        "min_stock_threshold": None,
        "filter_leaving": False,
        "max_retries": settings.webhook_max_retries,
        "retry_delay_ms": settings.webhook_retry_delay,
        "retry_ladder": None,
        "retry_delays_ms": None,
        "rate_per_second": None,
        "rate_burst": None,
        "ordering": None,
        "on_failure": None,
    }


async def _columns(
    connection: Executor, settings: Settings, before: Row, wanted: CreateWebhook | UpdateWebhook
) -> dict[str, object]:
    """The columns that a webhook's owner sets, except the sealed ones. Each has the wanted value,
    or the value of `before` if none was given. Raises BadRequest."""
    given = wanted.model_fields_set
    return {
        "url": wanted.url or before["url"],
        "events": wanted.events or before["events"],
        "active": before["active"] if wanted.active is None else wanted.active,
        "description": wanted.description if "description" in given else before["description"],
        "timeout_ms": wanted.timeout or before["timeout_ms"],
        **await _filters(connection, before, wanted.filters, with_filters="filters" in given),
        **_retry_policy(settings, before, wanted.retryPolicy),
        **_rate_limit(before, wanted.rateLimit, with_limit="rateLimit" in given),
        **_order(before, wanted),
    }


async def _check_secret(connection: Executor, vault: Vault, webhook_id: UUID, given: str) -> None:
    """Raises BadRequest unless the webhook signs with the secret `given` now."""
    row = await _SQL.secrets.fetchrow(connection, id=webhook_id)
    assert row is not None, "its row is locked"
    sealed = [row[name] for name in ("secret_sealed", "previous_secret_sealed") if row[name] is not None]
    known = [vault.open(secret, webhook_id.bytes) for secret in sealed]
    if not any(hmac.compare_digest(secret, given.encode()) for secret in known):
        raise _invalid(
            [FieldError("/secret", f"is not the present one; POST /webhooks/{webhook_id}/secret/rotate makes another")]
        )


def _seal_headers(vault: Vault, webhook_id: UUID, headers: Mapping[str, str]) -> bytes | None:
    return vault.seal(orjson.dumps(headers), webhook_id.bytes) if headers else None


def _resolve_headers(given: Mapping[str, str], kept: Mapping[str, str]) -> dict[str, str]:
    try:
        return unmask(given, kept)
    except UnknownMasked as error:
        raise _invalid([FieldError(f"/headers/{error.name}", str(error))]) from None
    except ValueError as error:
        raise _invalid([FieldError("/headers", str(error))]) from None


def _check_scheme(settings: Settings, url: str) -> None:
    if settings.webhook_https_only and not url.startswith("https:"):
        raise _invalid([FieldError("/url", "must begin with https://")])


def _retry_policy(settings: Settings, before: Row, wanted: WantedPolicy | None) -> dict[str, object]:
    """The columns of the retry policy after the wanted changes. Raises BadRequest."""
    after = RetryPolicy(
        before["max_retries"], before["retry_delay_ms"], before["retry_ladder"], before["retry_delays_ms"]
    )
    if wanted is not None:
        try:
            after = merge_retry_policy(
                after,
                max_retries=wanted.maxRetries,
                retry_delay_ms=wanted.retryDelay,
                schedule=wanted.schedule,
                with_schedule="schedule" in wanted.model_fields_set,
            )
        except ValueError as error:
            raise _invalid([FieldError("/retryPolicy/maxRetries", str(error))]) from None
        if wanted.schedule is not None and after.schedule is not None:
            try:
                check_schedule(after.schedule, settings.webhook_event_ttl)
            except ValueError as error:
                raise _invalid([FieldError("/retryPolicy/schedule", str(error))]) from None
    return {
        "max_retries": after.max_retries,
        "retry_delay_ms": after.retry_delay_ms,
        "retry_ladder": after.ladder,
        "retry_delays_ms": after.delays_ms,
    }


def _rate_limit(before: Row, wanted: RateLimit | None, *, with_limit: bool) -> dict[str, object]:
    """The columns of the rate limit. If `with_limit` is true, `wanted` replaces it as a whole."""
    if not with_limit:
        return {name: before[name] for name in ("rate_per_second", "rate_burst")}
    if wanted is None:
        return {"rate_per_second": None, "rate_burst": None}
    return {"rate_per_second": wanted.perSecond, "rate_burst": wanted.burst or wanted.perSecond}


async def _filters(
    connection: Executor, before: Row, wanted: Filters | None, *, with_filters: bool
) -> dict[str, object]:
    """The columns of the filters. If `with_filters` is true, `wanted` replaces them as a whole.

    Raises BadRequest, which names each id that does not exist. An id that the webhook had before is
    accepted even if it was deleted since, because a client may send back what it read."""
    if not with_filters:
        columns = ("filter_locations", "filter_categories", "min_stock_threshold", "filter_leaving")
        return {name: before[name] for name in columns}
    wanted = wanted or Filters()
    locations, categories = wanted.locations or [], wanted.categories or []
    had = {*before["filter_locations"], *before["filter_categories"]}
    unknown = [
        *await _unknown(connection, _SQL.known_locations, "locations", locations, had),
        *await _unknown(connection, _SQL.known_categories, "categories", categories, had),
    ]
    if unknown:
        raise _invalid(unknown)
    if wanted.leaving and not locations:
        raise _invalid([FieldError("/filters/leaving", "goes with locations only")])
    return {
        "filter_locations": list(dict.fromkeys(locations)),
        "filter_categories": list(dict.fromkeys(categories)),
        "min_stock_threshold": wanted.minStockThreshold,
        "filter_leaving": bool(wanted.leaving),
    }


async def _unknown(
    connection: Executor, known: Statement, name: str, ids: Sequence[UUID], had: Set[UUID]
) -> Iterable[FieldError]:
    if not ids:
        return []
    found = had | {row["id"] for row in await known.fetch(connection, ids=ids)}
    return [
        FieldError(f"/filters/{name}/{number}", "there is none with this id")
        for number, wanted in enumerate(ids)
        if wanted not in found
    ]


def _order(before: Row, wanted: CreateWebhook | UpdateWebhook) -> dict[str, object]:
    """The columns of the order. Raises BadRequest."""
    try:
        after = merge_order(
            OrderPolicy(before["ordering"], before["on_failure"]),
            ordering=wanted.ordering,
            with_ordering="ordering" in wanted.model_fields_set,
            on_failure=wanted.onFailure,
            with_on_failure="onFailure" in wanted.model_fields_set,
        )
    except ValueError as error:
        raise _invalid([FieldError("/onFailure", str(error))]) from None
    return {"ordering": after.ordering, "on_failure": after.on_failure}


def _invalid(errors: Sequence[FieldError]) -> BadRequest:
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return BadRequest(f"{errors[0].pointer}: {errors[0].detail}{more}", errors=errors)
