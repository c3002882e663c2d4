"""Reading why an event was or was not delivered to a webhook."""

from typing import Any, Literal
from uuid import UUID

import asyncpg
from typing_extensions import TypedDict

from service.api.call import Principal
from service.platform.clock import iso, iso_or_none
from service.platform.db import Pool
from service.platform.errors import NotFound
from service.platform.queries import load
from service.webhooks.access import own
from service.webhooks.reasons import FilterName, Reason, ReasonName, reason_of

_SQL = load("explain")
_WEBHOOKS = load("webhooks")


class ExplainedEvent(TypedDict):
    """`eventType` and the times are null if the owner may not read the event, or if the event is
    not in the log."""

    id: str
    eventType: str | None
    createdAt: str | None
    routedAt: str | None


class ExplainedWebhook(TypedDict):
    id: str
    active: bool
    createdAt: str
    updatedAt: str


class FilteredView(TypedDict):
    name: FilterName
    wanted: int | list[str]
    found: int | str | list[str] | None


class Explanation(TypedDict):
    """`delivered` is true if an attempt has succeeded. A later retry does not change that."""

    event: ExplainedEvent
    webhook: ExplainedWebhook
    delivered: bool
    reason: ReasonName
    basis: Literal["log", "configuration"]
    detail: str
    at: str | None
    attempt: int | None
    filter: FilteredView | None


async def explain(pool: Pool, user: Principal, webhook_id: UUID, event_id: UUID) -> Explanation:
    """Raises NotFound if the event does not exist or has been dropped, and raises as `own` does."""
    async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        webhook = own(await _WEBHOOKS.get.fetchrow(connection, id=webhook_id), user)
        facts = await _SQL.facts.fetchrow(connection, event_id=event_id, webhook_id=webhook_id)
        if facts is not None:
            return _explained(event_id, webhook, facts, reason_of(dict(webhook), dict(facts)))
        early = await _SQL.before_the_log.fetchrow(connection, event_id=event_id)
    if early is None:
        raise NotFound("there is no event with this id, or it has been dropped from the history")
    return _explained(event_id, webhook, None, _before_the_log(early, user))


def _before_the_log(row: asyncpg.Record, user: Principal) -> Reason:
    if row["set_aside_at"] is None:
        return Reason("not_fanned_out_yet", "log", "the event is committed and waits for a relay to route it")
    # Nobody can say who may read an event that was not fanned out, and the reason may quote its
    # data.
    why = row["reason"] if user.is_admin else "an admin can see why"
    return Reason("set_aside", "log", f"the event could not be routed: {why}", row["set_aside_at"])


def _explained(event_id: UUID, webhook: asyncpg.Record, facts: asyncpg.Record | None, reason: Reason) -> Explanation:
    shown: Any = None if reason.name == "not_readable_by_owner" else facts
    return {
        "event": {
            "id": str(event_id),
            "eventType": shown and shown["event_type"],
            "createdAt": shown and iso(shown["occurred_at"]),
            "routedAt": shown and iso(shown["recorded_at"]),
        },
        "webhook": {
            "id": str(webhook["id"]),
            "active": webhook["active"],
            "createdAt": iso(webhook["created_at"]),
            "updatedAt": iso(webhook["updated_at"]),
        },
        "delivered": facts is not None and facts["delivered_at"] is not None,
        "reason": reason.name,
        "basis": reason.basis,
        "detail": reason.detail,
        "at": iso_or_none(reason.at),
        "attempt": reason.attempt,
        "filter": None
        if reason.filter is None
        else {"name": reason.filter.name, "wanted": reason.filter.wanted, "found": reason.filter.found},
    }
