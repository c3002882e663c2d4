"""The commands that create and cancel a replay. Each is one transaction."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import asyncpg

from service.api.call import Principal
from service.api.paging import MAX_POSITION
from service.mutation import Mutation, command
from service.platform.db import Pool
from service.platform.errors import Conflict
from service.platform.queries import load
from service.records import Origin
from service.webhooks.access import ENTITY, own
from service.webhooks.replays import Job, ReplayBody, check_active, existing_job, job_view, measure

_SQL = load("replay")
_WEBHOOKS = load("webhooks")


async def create(
    pool: Pool, user: Principal, origin: Origin, webhook_id: UUID, wanted: ReplayBody, ttl_seconds: int
) -> Job:
    """Creates a job, which the leader works through. Raises NotFound, Forbidden, BadRequest, and
    Conflict while the webhook is inactive."""
    # The job examines all of these events anyway, so only the time bounds the count.
    bounds, counted = await measure(pool, user, webhook_id, wanted, ttl_seconds, most=MAX_POSITION)
    return await _create(pool, origin, user, webhook_id, wanted, bounds, counted)


@command("replay")
async def _create(
    change: Mutation,
    user: Principal,
    webhook_id: UUID,
    wanted: ReplayBody,
    bounds: asyncpg.Record,
    counted: Mapping[str, Any],
) -> Job:
    check_active(own(await _WEBHOOKS.lock.fetchrow(change, id=webhook_id), user))
    row = await _SQL.insert.fetchrow(
        change,
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
    await _WEBHOOKS.wake_lane.execute(change, webhook_id=webhook_id)
    job = job_view(row)
    change.audit(ENTITY, webhook_id, None, {"jobId": job["id"], **job["request"]})
    return job


@command("cancel-replay")
async def cancel(change: Mutation, user: Principal, webhook_id: UUID, job_id: UUID) -> Job:
    """Cancels a job. It queues nothing more, but the deliveries that it has queued are sent. A job
    that is cancelled already stays cancelled. Raises NotFound, Forbidden, and Conflict if the job
    has ended otherwise."""
    own(await _WEBHOOKS.get.fetchrow(change, id=webhook_id), user)
    change.check_match_untagged()
    row = await _SQL.cancel.fetchrow(change, id=job_id, webhook_id=webhook_id)
    if row is None:
        job = existing_job(await _SQL.get.fetchrow(change, id=job_id, webhook_id=webhook_id))
        if job["status"] != "cancelled":
            raise Conflict(f"this replay has ended already: it is {job['status']}")
        return job
    change.audit(ENTITY, webhook_id, None, {"jobId": job_id})
    return job_view(row)
