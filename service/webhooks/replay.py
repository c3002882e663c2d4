"""Replays: stretches of the log that a webhook is sent again, or gets for the first time."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import asyncpg
from pydantic import BeforeValidator
from typing_extensions import TypedDict

from service.api.call import Principal
from service.api.fields import Body, Bool
from service.api.paging import Newest, NewestPage
from service.mutation import Origin, mutation
from service.platform.clock import iso, iso_or_none, parse_moment
from service.platform.db import Pool
from service.platform.errors import BadRequest, Conflict, NotFound, Unprocessable
from service.platform.queries import load
from service.webhooks.bodies import EventTypes
from service.webhooks.commands import ENTITY, own
from service.webhooks.shapes import EventType

_SQL = load("replay")
_WEBHOOKS = load("webhooks")
# How long counting may take. A job can do without a total, a dry run cannot.
COUNT_MS = 20_000

Wanted = Literal["failed", "success", "missing", "all"]


def _text_only(value: Any) -> Any:
    if isinstance(value, str):
        return parse_moment(value)
    raise ValueError("must be a time in ISO 8601, such as 2026-02-18T09:30:00Z")


Moment = Annotated[datetime, BeforeValidator(_text_only)]


class ReplayBody(Body):
    """Events that happened from `since` on and before `until` (now, if left out)."""

    since: Moment
    until: Moment | None = None
    status: Wanted = "failed"
    types: EventTypes | None = None
    dryRun: Bool = False


class Counted(TypedDict):
    count: int
    byType: dict[str, int]
    oldest: str | None
    newest: str | None


class Request(TypedDict):
    since: str
    until: str
    status: str
    types: list[EventType] | None


class Job(TypedDict):
    """`total` is what matched when the job was made, null if that took too long to count; `done` is what was queued."""

    id: str
    status: str
    total: int | None
    done: int
    request: Request
    error: str | None
    createdAt: str
    startedAt: str | None
    endedAt: str | None


class JobReply(TypedDict):
    job: Job


class JobsReply(TypedDict):
    jobs: list[Job]
    total: int
    skip: int
    limit: int


async def count(pool: Pool, user: Principal, webhook_id: UUID, wanted: ReplayBody, ttl_seconds: int) -> Counted:
    """What a replay would send, from the same rows. Raises Unprocessable where that takes too long."""
    _, counted = await _measure(pool, user, webhook_id, wanted, ttl_seconds)
    if counted is None:
        raise Unprocessable("this range is too large to be counted; narrow it, or replay it without counting first")
    return counted


async def create(
    pool: Pool, user: Principal, origin: Origin, webhook_id: UUID, wanted: ReplayBody, ttl_seconds: int
) -> Job:
    """A job, which a relay works through. Raises NotFound, Forbidden, BadRequest, and Conflict while the webhook is inactive."""
    bounds, counted = await _measure(pool, user, webhook_id, wanted, ttl_seconds)
    async with mutation(pool, origin, "replay") as change:
        _check_active(own(await _WEBHOOKS.lock.fetchrow(change.connection, id=webhook_id), user))
        row = await _SQL.insert.fetchrow(
            change.connection,
            webhook_id=webhook_id,
            since=wanted.since,
            until=wanted.until or bounds["now"],
            wanted=wanted.status,
            types=wanted.types,
            after=bounds["after"],
            through=bounds["through"],
            total=None if counted is None else counted["count"],
        )
        assert row is not None
        await _WEBHOOKS.wake_lane.execute(change.connection, webhook_id=webhook_id)
        job = _shown(row)
        change.audit(ENTITY, webhook_id, None, {"jobId": job["id"], **job["request"]})
    return job


async def list_jobs(pool: Pool, user: Principal, webhook_id: UUID, page: NewestPage) -> tuple[JobsReply, list[Newest]]:
    """Newest first, and the keys of what is listed. Those that ended are forgotten after JOSSIEDB_JOB_TTL."""
    async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        own(await _WEBHOOKS.get.fetchrow(connection, id=webhook_id), user)
        rows = await _SQL.list.fetch(connection, webhook_id=webhook_id, skip=page.skip, limit=page.limit, **page.before)
        total = await _SQL.count_jobs.fetchval(connection, webhook_id=webhook_id)
    keys = [(row["created_at"], row["id"]) for row in rows]
    return {"jobs": [_shown(row) for row in rows], "total": total, "skip": page.skip, "limit": page.limit}, keys


async def get(pool: Pool, user: Principal, webhook_id: UUID, job_id: UUID) -> Job:
    async with pool.acquire() as connection:
        own(await _WEBHOOKS.get.fetchrow(connection, id=webhook_id), user)
        row = await _SQL.get.fetchrow(connection, id=job_id, webhook_id=webhook_id)
    return _found(row)


async def cancel(pool: Pool, user: Principal, origin: Origin, webhook_id: UUID, job_id: UUID) -> Job:
    """Nothing more is queued; what has been is sent. A job that was cancelled before stays so; Conflict if it ended otherwise."""
    async with mutation(pool, origin, "cancel-replay") as change:
        own(await _WEBHOOKS.get.fetchrow(change.connection, id=webhook_id), user)
        change.check_match_untagged()
        row = await _SQL.cancel.fetchrow(change.connection, id=job_id, webhook_id=webhook_id)
        if row is None:
            job = _found(await _SQL.get.fetchrow(change.connection, id=job_id, webhook_id=webhook_id))
            if job["status"] != "cancelled":
                raise Conflict(f"this replay has ended already: it is {job['status']}")
            return job
        change.audit(ENTITY, webhook_id, None, {"jobId": job_id})
    return _shown(row)


async def _measure(
    pool: Pool, user: Principal, webhook_id: UUID, wanted: ReplayBody, ttl_seconds: int
) -> tuple[asyncpg.Record, Counted | None]:
    """Where in the log to look, and what is there; None if it takes too long to count."""
    async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        _check_active(own(await _WEBHOOKS.get.fetchrow(connection, id=webhook_id), user))
        bounds = await _SQL.bounds.fetchrow(connection, since=wanted.since, ttl_seconds=ttl_seconds)
        assert bounds is not None
        until = wanted.until or bounds["now"]
        if wanted.since >= until:
            raise BadRequest.at("/until" if wanted.until else "/since", "the range ends before it begins")
        await _SQL.allow.execute(connection, milliseconds=COUNT_MS)
        try:
            async with connection.transaction():
                rows = await _SQL.count.fetch(
                    connection,
                    webhook_id=webhook_id,
                    after=bounds["after"],
                    through=bounds["through"],
                    since=wanted.since,
                    until=until,
                    wanted=wanted.status,
                    types=wanted.types,
                    log_from=bounds["log_from"],
                )
        except asyncpg.QueryCanceledError:
            return bounds, None
    return bounds, {
        "count": sum(row["count"] for row in rows),
        "byType": {row["event_type"]: row["count"] for row in rows},
        "oldest": iso_or_none(min((row["oldest"] for row in rows), default=None)),
        "newest": iso_or_none(max((row["newest"] for row in rows), default=None)),
    }


def _check_active(webhook: asyncpg.Record) -> None:
    if not webhook["active"]:
        raise Conflict("this webhook is not active; make it active first")


def _found(row: asyncpg.Record | None) -> Job:
    if row is None:
        raise NotFound("this webhook has no replay with this id, or it was forgotten after it had ended")
    return _shown(row)


def _shown(row: asyncpg.Record) -> Job:
    return {
        "id": str(row["id"]),
        "status": row["state"],
        "total": row["total"],
        "done": row["done"],
        "request": {
            "since": iso(row["since"]),
            "until": iso(row["until"]),
            "status": row["wanted"],
            "types": row["types"],
        },
        "error": row["error"],
        "createdAt": iso(row["created_at"]),
        "startedAt": iso_or_none(row["started_at"]),
        "endedAt": iso_or_none(row["ended_at"]),
    }
