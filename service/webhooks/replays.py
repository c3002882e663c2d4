"""Replays: stretches of the log that a webhook is sent again, or gets for the first time.

What a replay takes, how a job is shown, and what is there to send.
"""

import time
from datetime import datetime
from typing import Annotated, Any, Literal, NotRequired
from uuid import UUID

import asyncpg
from pydantic import BeforeValidator
from typing_extensions import TypedDict

from service.api.call import Principal
from service.api.fields import Body, Bool
from service.platform.clock import iso, iso_or_none, parse_moment
from service.platform.db import Pool
from service.platform.errors import BadRequest, Conflict, NotFound
from service.platform.queries import Connection, load
from service.webhooks.access import own
from service.webhooks.bodies import EventTypes
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


async def measure(
    pool: Pool, user: Principal, webhook_id: UUID, wanted: ReplayBody, ttl_seconds: int, *, most: int
) -> tuple[asyncpg.Record, Counted]:
    """Where in the log to look, and what is there: of the first `most` rows, and of what was counted in COUNT_SECONDS."""
    async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        check_active(own(await _WEBHOOKS.get.fetchrow(connection, id=webhook_id), user))
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
                counts = await _SQL.count.fetch(
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
        for row in counts:
            by_type[row["event_type"]] = by_type.get(row["event_type"], 0) + row["count"]
        rows += counts
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


def check_active(webhook: asyncpg.Record) -> None:
    if not webhook["active"]:
        raise Conflict("this webhook is not active; make it active first")


def found(row: asyncpg.Record | None) -> Job:
    """The job as it is shown. Raises NotFound."""
    if row is None:
        raise NotFound("this webhook has no replay with this id, or it was forgotten after it had ended")
    return shown(row)


def shown(row: asyncpg.Record) -> Job:
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
