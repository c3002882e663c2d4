"""Fan-out: events leave the outbox for the log, and a delivery is queued for each webhook that matches."""

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

import asyncpg

from relay.doorbell import LOCK_CLASS, LOCK_DOORBELL
from relay.result import Lease, Moment
from relay.slots import NOTHING, Offer
from relay.subject import Subject, Unroutable, subject_of
from service.platform.db import CONTENDED, lacks_partition
from service.platform.logs import get_logger
from service.platform.queries import Connection, Executor, load

_log = get_logger(__name__)
_SQL = load("fanout")

MAX_EVENTS = 500
# A statement should stay short, so an event that matches thousands of webhooks makes the next batches smaller.
TARGET_DELIVERIES = 5000

# What a row's own content can cause in the statement. Anything else (no partition, disk full, a lock) is not the row's fault: it
# is kept, and tried again.
_ROW_ERRORS = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError, asyncpg.ProgramLimitExceededError)
NEVER = Moment(datetime.fromtimestamp(0, UTC), 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Batch:
    """What one batch did. `taken` counts outbox rows that are gone, those set aside included; `lanes` have something due that
    nobody was given; `leases` were given to who offered slots, at `moment`, for webhooks of these `versions`."""

    taken: int = 0
    events: int = 0
    deliveries: int = 0
    lanes: tuple[UUID, ...] = ()
    leases: tuple[Lease, ...] = ()
    versions: tuple[tuple[UUID, int], ...] = ()
    moment: Moment = NEVER
    # Whether there may be more, and whether somebody else gave lanes something to do.
    full: bool = False
    wakes: bool = False


class _Row(NamedTuple):
    """A row of the outbox, with what its event is about."""

    seq: int
    id: UUID
    type: str
    occurred_at: datetime
    traceparent: str | None
    subject: Subject


class FanOut:
    """Used by the leader only, one batch at a time."""

    def __init__(self, connection: Executor) -> None:
        self.connection = connection
        self._limit = MAX_EVENTS

    async def batch(self, offer: Callable[[], Offer] = lambda: NOTHING, *, asleep: bool = False) -> Batch:
        """Fan out the oldest rows. A row that cannot be is set aside with its reason, and stops nothing. `offer` is asked when
        there are rows, for slots that are then leased to; `asleep`: the doorbell's lock is held, and to be let go of."""
        found = await _SQL.read_outbox.fetch(
            self.connection, batch=self._limit, asleep=asleep, class_id=LOCK_CLASS, object_id=LOCK_DOORBELL
        )
        wakes: bool = found[0]["wakes"]
        if found[0]["seq"] is None:
            return Batch(wakes=wakes)
        good: list[_Row] = []
        for row in found:
            try:
                if row["known"]:
                    raise Unroutable(f"an event with the id {row['id']} is in the log already")
                subject = subject_of(row["type"], row["data"], row["location_ids"])
            except Unroutable as error:
                await self._set_aside(row["seq"], str(error))
            else:
                good.append(_Row(row["seq"], row["id"], row["type"], row["occurred_at"], row["traceparent"], subject))
        limit = self._limit
        batch = await self._move(good, offer() if good else NOTHING, in_order=found[0]["ordered"])
        self._adapt(len(found), batch.deliveries)
        return replace(batch, taken=len(found), full=len(found) == limit, wakes=wakes)

    async def lane_wakes(self) -> list[UUID]:
        """Webhooks that somebody else gave something to do: a manual retry, a test, a resumed lane."""
        return [row["webhook_id"] for row in await _SQL.take_lane_wakes.fetch(self.connection)]

    async def anything(self) -> bool:
        """Whether there is anything to look at."""
        return bool(await _SQL.anything.fetchval(self.connection))

    async def _move(self, rows: Sequence[_Row], offer: Offer, *, in_order: bool) -> Batch:
        if not rows:
            return Batch()
        try:
            return await self._try(rows, offer, in_order=in_order)
        except _ROW_ERRORS as error:
            if lacks_partition(error):
                raise
            if len(rows) == 1:
                await self._set_aside(rows[0].seq, f"{type(error).__name__}: {error}")
                return Batch()
            half = len(rows) // 2
            first = await self._move(rows[:half], NOTHING, in_order=in_order)
            second = await self._move(rows[half:], NOTHING, in_order=in_order)
            return Batch(
                events=first.events + second.events,
                deliveries=first.deliveries + second.deliveries,
                lanes=tuple(dict.fromkeys(first.lanes + second.lanes)),
            )

    async def _try(self, rows: Sequence[_Row], offer: Offer, *, in_order: bool) -> Batch:
        try:
            return await self._transaction(rows, offer, in_order=in_order)
        except CONTENDED:
            return await self._transaction(rows, offer, in_order=in_order)

    async def _transaction(self, rows: Sequence[_Row], offer: Offer, *, in_order: bool) -> Batch:
        """One statement; two where a webhook asks for order."""
        asked = time.monotonic()
        if not in_order:
            return _batch(rows, await self._statement(self.connection, rows, offer, in_order=False), asked)
        async with _one(self.connection) as connection, connection.transaction():
            done = await self._statement(connection, rows, offer, in_order=True)
            queued = await _queue_in_order(connection, done)
        batch = _batch(rows, done, asked)
        if queued is None:
            return batch
        lanes = tuple(dict.fromkeys((*batch.lanes, *(queued["lanes"] or ()))))
        return replace(batch, deliveries=batch.deliveries + queued["deliveries"], lanes=lanes)

    async def _statement(
        self, connection: Executor, rows: Sequence[_Row], offer: Offer, *, in_order: bool
    ) -> asyncpg.Record:
        subjects = [row.subject for row in rows]
        done = await _SQL.fan_out.fetchrow(
            connection,
            seqs=[row.seq for row in rows],
            datas=[subject.data for subject in subjects],
            audiences=[subject.audience for subject in subjects],
            locations=[_array(subject.location_ids) for subject in subjects],
            categories=[subject.category_id for subject in subjects],
            users=[_array(subject.user_ids) for subject in subjects],
            stocks=[subject.stock for subject in subjects],
            items=[subject.item_id for subject in subjects],
            relay_id=offer.relay_id,
            most=offer.most,
            per_webhook=offer.per_webhook,
            crowded=offer.crowded,
            in_order=in_order,
        )
        assert done is not None, "the statement always gives one row"
        return done

    async def _set_aside(self, seq: int, reason: str) -> None:
        await _SQL.set_aside.execute(self.connection, seq=seq, reason=reason)
        _log.error("an event cannot be fanned out and was set aside", seq=seq, reason=reason)

    def _adapt(self, rows: int, deliveries: int) -> None:
        if deliveries > TARGET_DELIVERIES:
            self._limit = max(1, rows * TARGET_DELIVERIES // deliveries)
        elif rows == self._limit:
            self._limit = min(MAX_EVENTS, self._limit * 2)


@asynccontextmanager
async def _one(connection: Executor) -> AsyncIterator[Connection]:
    """The connection, or one of the pool."""
    if isinstance(connection, asyncpg.Pool):
        async with connection.acquire() as acquired:
            yield acquired
    else:
        yield connection


async def _queue_in_order(connection: Connection, done: asyncpg.Record) -> asyncpg.Record | None:
    if done["ordered_positions"] is None:
        return None
    return await _SQL.queue_in_order.fetchrow(
        connection,
        webhook_ids=done["ordered_webhook_ids"],
        item_ids=done["ordered_item_ids"],
        positions=done["ordered_positions"],
        event_ids=done["ordered_event_ids"],
        event_types=done["ordered_event_types"],
    )


def _array(ids: Sequence[str]) -> str:
    return "{" + ",".join(ids) + "}"


def _batch(rows: Sequence[_Row], done: asyncpg.Record, asked: float) -> Batch:
    moment = Moment(done["claimed_at"], time.monotonic(), asked)
    leases: list[Lease] = []
    versions: tuple[tuple[UUID, int], ...] = ()
    if done["fences"] is not None:
        versions = tuple(zip(done["target_ids"], done["versions"], strict=True))
        by_id = {row.id: row for row in rows}
        given = zip(done["webhook_ids"], done["positions"], done["event_ids"], done["fences"], strict=True)
        for webhook_id, position, event_id, fence in given:
            row = by_id[event_id]
            leases.append(
                Lease(
                    webhook_id=webhook_id,
                    position=position,
                    fence=fence,
                    event_id=event_id,
                    event_type=row.type,
                    event_at=done["event_at"],
                    attempts=0,
                    attempts_before=0,
                    lost_leases=0,
                    lost_by=None,
                    data=row.subject.data,
                    occurred_at=row.occurred_at,
                    traceparent=row.traceparent,
                    item_id=None,
                    sequence=None,
                    readable=True,
                    probe=False,
                )
            )
    return Batch(
        events=done["events"],
        deliveries=done["deliveries"],
        lanes=tuple(done["lanes"]),
        leases=tuple(leases),
        versions=versions,
        moment=moment,
    )
