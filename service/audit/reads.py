"""Reads the audit trail."""

from typing import Annotated, Any

import asyncpg
import orjson
from pydantic import Field
from typing_extensions import TypedDict

from service.api.counts import Total, count, reached
from service.api.fields import Id, Moment, Text
from service.api.paging import Newest, NewestPage
from service.platform.clock import iso
from service.platform.db import Pool
from service.platform.queries import load

_SQL = load("audit")
Word = Annotated[Text, Field(max_length=100)]


class AuditQuery(NewestPage):
    """`since` is included, `until` is not."""

    actor_id: Id | None = None
    entity: Word | None = None
    entity_id: Id | None = None
    action: Word | None = None
    since: Moment | None = None
    until: Moment | None = None


class Actor(TypedDict):
    """`username` is null if the user was removed."""

    id: str
    username: str | None


class AuditEntry(TypedDict):
    """`actor` is null if nobody was signed in: for a registration, or on the command line."""

    id: str
    at: str
    actor: Actor | None
    action: str
    entity: str
    entity_id: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    ip_address: str | None
    request_id: str | None
    event_ids: list[str]


async def list_entries(pool: Pool, query: AuditQuery) -> tuple[list[AuditEntry], list[Newest], Total]:
    """A page of entries, newest first, the keys of its rows, and the total."""
    filters: dict[str, object] = {
        "actor_id": query.actor_id,
        "entity": query.entity,
        "entity_id": query.entity_id,
        "action": query.action,
        "since": query.since,
        "until": query.until,
    }
    async with pool.acquire() as connection:
        rows = await _SQL.list_entries.fetch(connection, skip=query.skip, limit=query.limit, **query.before, **filters)
        total = await count(connection, _SQL.count_entries, seen=reached(query.skip, len(rows)), **filters)
    return [_view(row) for row in rows], [(row["at"], row["id"]) for row in rows], total


def _view(row: asyncpg.Record) -> AuditEntry:
    return {
        "id": str(row["id"]),
        "at": iso(row["at"]),
        "actor": {"id": str(row["actor_id"]), "username": row["username"]} if row["actor_id"] else None,
        "action": row["action"],
        "entity": row["entity"],
        "entity_id": str(row["entity_id"]),
        "before": _stored(row["before"]),
        "after": _stored(row["after"]),
        "ip_address": row["ip_address"],
        "request_id": row["request_id"],
        "event_ids": [str(event_id) for event_id in row["event_ids"]],
    }


def _stored(text: str | None) -> Any:
    """The stored JSON, without parsing it. A page may have some 20 MB, which would take a while to
    parse and to serialise again."""
    return orjson.Fragment(text) if text else None
