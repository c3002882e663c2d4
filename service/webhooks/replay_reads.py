"""Reading replays: what one would send, and the jobs of a webhook."""

from uuid import UUID

from service.api.call import Principal
from service.api.counts import MOST, reached
from service.api.counts import count as count_rows
from service.api.paging import Newest, NewestPage
from service.platform.db import Pool
from service.platform.queries import load
from service.webhooks.access import own
from service.webhooks.replays import Counted, Job, JobsReply, ReplayBody, existing_job, job_view, measure

_SQL = load("replay")
_WEBHOOKS = load("webhooks")


async def count(pool: Pool, user: Principal, webhook_id: UUID, wanted: ReplayBody, ttl_seconds: int) -> Counted:
    """The count of the events that a replay would send. It stops when it has more than MOST events,
    or after COUNT_SECONDS."""
    _, counted = await measure(pool, user, webhook_id, wanted, ttl_seconds, most=MOST)
    return counted


async def list_jobs(pool: Pool, user: Principal, webhook_id: UUID, page: NewestPage) -> tuple[JobsReply, list[Newest]]:
    """A page of the jobs, newest first, and the key of each for a cursor. Jobs that have ended are
    removed after JOSSIEDB_JOB_TTL."""
    async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        own(await _WEBHOOKS.get.fetchrow(connection, id=webhook_id), user)
        rows = await _SQL.list.fetch(connection, webhook_id=webhook_id, skip=page.skip, limit=page.limit, **page.before)
        total = await count_rows(connection, _SQL.count_jobs, seen=reached(page.skip, len(rows)), webhook_id=webhook_id)
    keys = [(row["created_at"], row["id"]) for row in rows]
    jobs: JobsReply = {
        "jobs": [job_view(row) for row in rows],
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
    return existing_job(row)
