"""Replays: the request for one, its job as the API shows it, and the count of the events that
match.

A replay sends events of the log to a webhook again, or for the first time.
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
# How long a count may take in all, and how many positions of the log one of its statements
# examines. The first statement examines few, so that there is a count even if the server is slow.
# Each later one examines twice as many as the one before, up to the second number.
COUNT_SECONDS = 2.0
STRETCHES = (1000, 20_000)

Wanted = Literal["failed", "success", "missing", "all"]


def _text_only(value: Any) -> Any:
    if isinstance(value, str):
        return parse_moment(value)
    raise ValueError("must be a time in ISO 8601, such as 2026-02-18T09:30:00Z")


Moment = Annotated[datetime, BeforeValidator(_text_only)]


class ReplayBody(Body):
    """Asks for the events that happened from `since` on and before `until`. Without `until`, this
    is the present time."""

    since: Moment
    until: Moment | None = None
    status: Wanted = "failed"
    types: EventTypes | None = None
    dryRun: Bool = False


class Counted(TypedDict):
    """The events that match. If not all of them were counted, `countIsMinimum` is true, and the
    other fields describe the oldest events, which were counted. Otherwise `countIsMinimum` is left
    out."""

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
    """`total` is how many events matched when the job was created. It is null if counting took too
    long. `done` is how many events have been queued."""

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
    """If there are more jobs than are counted, `totalIsMinimum` is true. Otherwise it is left
    out."""

    jobs: list[Job]
    total: int
    totalIsMinimum: NotRequired[Literal[True]]
    skip: int
    limit: int


async def measure(
    pool: Pool, user: Principal, webhook_id: UUID, wanted: ReplayBody, ttl_seconds: int, *, most: int
) -> tuple[asyncpg.Record, Counted]:
    """The bounds of the replay in the log, and the count of the events that match. The count stops
    when it has more than `most` events, or after COUNT_SECONDS. Raises NotFound, Forbidden,
    BadRequest, and Conflict if the webhook is not active."""
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
    """Counts one stretch of the log after the other. So if the time is over before the end, the
    oldest events have been counted."""
    end = time.monotonic() + COUNT_SECONDS
    after: int = bounds["after"]
    stretch, longest = STRETCHES
    by_type: dict[str, int] = {}
    rows: list[asyncpg.Record] = []
    complete = True
    while complete and after < bounds["through"]:
        # If a stretch would end in the gap that a new epoch leaves, it extends to the end of the
        # gap.
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


def existing_job(row: asyncpg.Record | None) -> Job:
    """The job as the API shows it. Raises NotFound if `row` is None."""
    if row is None:
        raise NotFound("this webhook has no replay with this id, or it was forgotten after it had ended")
    return job_view(row)


def job_view(row: asyncpg.Record) -> Job:
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
