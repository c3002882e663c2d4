"""Replays: stretches of the log that a webhook is sent again, or gets for the first time."""

import time
from datetime import datetime
from typing import Annotated, Any, Literal, NotRequired
from uuid import UUID

import asyncpg
from pydantic import BeforeValidator
from typing_extensions import TypedDict

from service.api.call import Principal
from service.api.counts import MOST, reached
from service.api.counts import count as count_rows
from service.api.fields import Body, Bool
from service.api.paging import MAX_POSITION, Newest, NewestPage
from service.mutation import Origin, mutation
from service.platform.clock import iso, iso_or_none, parse_moment
from service.platform.db import Pool
from service.platform.errors import BadRequest, Conflict, NotFound
from service.platform.queries import Connection, load
from service.webhooks.bodies import EventTypes
from service.webhooks.commands import ENTITY, own
from service.webhooks.shapes import EventType

_SQL = load("replay")
_WEBHOOKS = load("webhooks")
# How long counting may take in all, and how many positions of the log one statement looks at: few at first, so that there is a
# count even where the server is slow, and each time twice as many, up to the second number.
COUNT_SECONDS = 2.0
STRETCHES = (1000, 20_000)

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
    """Where `countIsMinimum` is there, it is true: there are more, and all of this is of the oldest, which were counted."""

    count: int
    countIsMinimum: NotRequired[Literal[True]]
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
    """`totalIsMinimum` is true, and there, where there are more than are counted."""

    jobs: list[Job]
    total: int
    totalIsMinimum: NotRequired[Literal[True]]
    skip: int
    limit: int


async def count(pool: Pool, user: Principal, webhook_id: UUID, wanted: ReplayBody, ttl_seconds: int) -> Counted:
    """What a replay would send, from the same rows; counted no further than MOST rows or COUNT_SECONDS."""
    _, counted = await _measure(pool, user, webhook_id, wanted, ttl_seconds, most=MOST)
    return counted


async def create(
    pool: Pool, user: Principal, origin: Origin, webhook_id: UUID, wanted: ReplayBody, ttl_seconds: int
) -> Job:
    """A job, which a relay works through. Raises NotFound, Forbidden, BadRequest, and Conflict while the webhook is inactive."""
    # It will look at all of them anyway; only time bounds the count.
    bounds, counted = await _measure(pool, user, webhook_id, wanted, ttl_seconds, most=MAX_POSITION)
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
            total=None if "countIsMinimum" in counted else counted["count"],
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
        total = await count_rows(connection, _SQL.count_jobs, seen=reached(page.skip, len(rows)), webhook_id=webhook_id)
    keys = [(row["created_at"], row["id"]) for row in rows]
    jobs: JobsReply = {
        "jobs": [_shown(row) for row in rows],
        "total": total.rows,
        "skip": page.skip,
        "limit": page.limit,
    }
    if total.is_minimum:
        jobs["totalIsMinimum"] = True
    return jobs, keys


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
    pool: Pool, user: Principal, webhook_id: UUID, wanted: ReplayBody, ttl_seconds: int, *, most: int
) -> tuple[asyncpg.Record, Counted]:
    """Where in the log to look, and what is there: of the first `most` rows, and of what was counted in COUNT_SECONDS."""
    async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        _check_active(own(await _WEBHOOKS.get.fetchrow(connection, id=webhook_id), user))
        bounds = await _SQL.bounds.fetchrow(connection, since=wanted.since, ttl_seconds=ttl_seconds)
        assert bounds is not None
        until = wanted.until or bounds["now"]
        if wanted.since >= until:
            raise BadRequest.at("/until" if wanted.until else "/since", "the range ends before it begins")
        counted = await _count(connection, webhook_id, wanted, bounds, until, most)
    return bounds, counted


async def _count(
    connection: Connection, webhook_id: UUID, wanted: ReplayBody, bounds: asyncpg.Record, until: datetime, most: int
) -> Counted:
    """From one stretch of the log to the next, so that what was counted when the time is over is the oldest."""
    end = time.monotonic() + COUNT_SECONDS
    after: int = bounds["after"]
    stretch, longest = STRETCHES
    by_type: dict[str, int] = {}
    rows: list[asyncpg.Record] = []
    complete = True
    while complete and after < bounds["through"]:
        # A new epoch leaves a gap, which is stepped over.
        through = await _SQL.window_end.fetchval(connection, after=after, scan=stretch, through=bounds["through"])
        stretch = min(2 * stretch, longest)
        try:
            async with connection.transaction():
                found = await _SQL.count.fetch(
                    connection,
                    webhook_id=webhook_id,
                    after=after,
                    through=through,
                    since=wanted.since,
                    until=until,
                    wanted=wanted.status,
                    types=wanted.types,
                    log_from=bounds["log_from"],
                )
        except asyncpg.QueryCanceledError:
            complete = False
            break
        for row in found:
            by_type[row["event_type"]] = by_type.get(row["event_type"], 0) + row["count"]
        rows += found
        after = through
        complete = after == bounds["through"] or (sum(by_type.values()) <= most and time.monotonic() < end)
    counted: Counted = {
        "count": sum(by_type.values()),
        "byType": dict(sorted(by_type.items())),
        "oldest": iso_or_none(min((row["oldest"] for row in rows), default=None)),
        "newest": iso_or_none(max((row["newest"] for row in rows), default=None)),
    }
    if not complete:
        counted["countIsMinimum"] = True
    return counted


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
