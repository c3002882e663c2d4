"""Claiming: one statement for many lanes. If a row in one of the lanes makes the statement fail,
each lane is claimed by itself."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias
from uuid import UUID

import asyncpg

from relay.identity import Identity
from relay.record.give_up import give_up
from relay.record.result import Lease, Moment
from relay.send.target import Target, Targets
from service.platform.db import Pool, is_of_a_row
from service.platform.logs import get_logger
from service.platform.queries import Connection, load

_log = get_logger(__name__)
_SQL = load("claim")

# The first columns of a claimed row are the lease.
_LEASE = len(Lease._fields)
# A lane, and how many of its deliveries to ask for.
Share: TypeAlias = tuple[UUID, int]


class Unclaimable(Exception):
    """A row in one of the lanes made a claim fail. The claim may have leased deliveries all the
    same. The next claim of these lanes is careful: it takes each lane by itself."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """The reply to a claim. All times but `ends` are monotonic.

    - `leases` were granted at `moment`, which is None if there are none.
    - `ends` has the last due time that was claimed of each lane.
    - `waits` has the lanes of which nothing, or nothing more, may be claimed yet, and for how many
      seconds.
    """

    leases: list[Lease]
    moment: Moment | None
    targets: dict[UUID, Target]
    ends: dict[UUID, datetime]
    waits: dict[UUID, float]
    asked_at: float
    answered_at: float


class Claims:
    """Handles bad rows among those that a claim reads. A delivery that cannot be claimed ends as
    failed, with its reason."""

    def __init__(self, pool: Pool, identity: Identity, targets: Targets) -> None:
        self._pool = pool
        self._identity = identity
        self._targets = targets
        self._careful: set[UUID] = set()

    async def claim(
        self, lanes: Sequence[Share], floors: Sequence[datetime | None], *, most: int, suspects: bool
    ) -> Claimed:
        """Leases at most the given number of deliveries of each lane, and `most` in all. Raises
        Unclaimable, and every error that is not the fault of a row."""
        asked_at = time.monotonic()
        async with self._pool.acquire() as connection:
            rows = await self._fetch(connection, self._identity.relay_id, lanes, floors, most=most, suspects=suspects)
            answered_at = time.monotonic()
            waits = {row["webhook_id"]: row["wait_seconds"] for row in rows if row["wait_seconds"] is not None}
            rows = [row for row in rows if row["position"] is not None]
            versions = {row["webhook_id"]: row["version"] for row in rows}
            targets = await self._targets.load(connection, versions.items())
        return Claimed(
            [Lease._make(row[:_LEASE]) for row in rows],
            Moment(rows[0]["claimed_at"], answered_at, asked_at) if rows else None,
            targets,
            {row["webhook_id"]: row["due_at"] for row in rows},
            waits,
            asked_at,
            answered_at,
        )

    async def _fetch(
        self,
        connection: Connection,
        relay_id: UUID,
        lanes: Sequence[Share],
        floors: Sequence[datetime | None],
        *,
        most: int,
        suspects: bool,
    ) -> list[asyncpg.Record]:
        if not any(webhook_id in self._careful for webhook_id, _ in lanes):
            try:
                return await _claim(connection, relay_id, lanes, floors, most, suspects=suspects)
            except Exception as error:
                if not is_of_a_row(error):
                    raise
                self._careful.update(webhook_id for webhook_id, _ in lanes)
                _log.warning("a claim failed; each of its lanes is looked at by itself", error=repr(error))
                raise Unclaimable from error
        rows: list[asyncpg.Record] = []
        for lane in lanes:
            left = most - sum(row["position"] is not None for row in rows)
            if left <= 0:
                break
            rows += await self._one(connection, relay_id, lane, left, suspects=suspects)
        return rows

    async def _one(
        self, connection: Connection, relay_id: UUID, lane: Share, most: int, *, suspects: bool
    ) -> list[asyncpg.Record]:
        """Claims of one lane, in a transaction: if a leased row cannot be read, its lease is
        undone. After the first failure it takes one row at a time."""
        webhook_id, share = lane
        wanted = min(share, most)
        step = wanted
        found: list[asyncpg.Record] = []
        claimed = 0
        while claimed < wanted:
            try:
                async with connection.transaction():
                    rows = await _claim(connection, relay_id, [(webhook_id, step)], [None], step, suspects=suspects)
            except Exception as error:
                if not is_of_a_row(error):
                    raise
                if step == 1 and not await _give_up(connection, webhook_id, error, suspects=suspects):
                    _log.error("nothing can be claimed of a lane", webhook_id=str(webhook_id))
                    break
                step = 1
                continue
            found += rows
            got = sum(row["position"] is not None for row in rows)
            claimed += got
            if got < step or step == wanted:
                self._careful.discard(webhook_id)
                break
        return found


async def _claim(
    connection: Connection,
    relay_id: UUID,
    lanes: Sequence[Share],
    floors: Sequence[datetime | None],
    most: int,
    *,
    suspects: bool,
) -> list[asyncpg.Record]:
    return await _SQL.claim.fetch(
        connection,
        relay_id=relay_id,
        webhook_ids=[webhook_id for webhook_id, _ in lanes],
        shares=[share for _, share in lanes],
        floors=floors,
        most=most,
        suspects=suspects,
        now=None,
    )


async def _give_up(connection: Connection, webhook_id: UUID, error: Exception, *, suspects: bool) -> bool:
    """Ends the delivery of the lane that a claim would take first. False if there is none, or if
    the database refuses that, too."""
    known = {"webhook_id": str(webhook_id)}
    try:
        reason = f"it cannot be claimed: {type(error).__name__}: {error}"
        event_id = await give_up(connection, webhook_id, reason, suspects=suspects)
    except Exception as refused:
        if not is_of_a_row(refused):
            raise
        _log.exception("a delivery that cannot be claimed cannot be ended", **known)
        return False
    if event_id is not None:
        _log.error("a delivery cannot be claimed and was given up", **known, event_id=str(event_id), exc_info=error)
    return event_id is not None
