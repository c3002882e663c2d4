"""Fan-out: events leave the outbox for the log, and a delivery is queued for each webhook that matches."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import asyncpg

from relay.subject import Subject, Unroutable, subject_of
from service.platform.db import CONTENDED, Pool
from service.platform.logs import get_logger
from service.platform.queries import Connection, load

_log = get_logger(__name__)
_SQL = load("fanout")

MAX_EVENTS = 500
# A statement should stay short, so an event that matches thousands of webhooks makes the next batches smaller.
TARGET_DELIVERIES = 5000

# What a row's own content can cause in the statement. Anything else (no partition, disk full, a lock) is not the row's fault: it
# is kept, and tried again.
_ROW_ERRORS = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError, asyncpg.ProgramLimitExceededError)
_NO_PARTITION = "no partition of relation"


@dataclass(frozen=True, slots=True)
class Batch:
    """What one batch did. `taken` counts outbox rows that are gone, those set aside included."""

    taken: int = 0
    events: int = 0
    deliveries: int = 0
    lanes: tuple[UUID, ...] = ()


class FanOut:
    """Used by the leader only, one batch at a time."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._limit = MAX_EVENTS

    async def batch(self) -> Batch:
        """Fan out the oldest rows. A row that cannot be is set aside with its reason, and stops nothing."""
        async with self._pool.acquire() as connection:
            rows = await _SQL.read_outbox.fetch(connection, batch=self._limit)
            if not rows:
                return Batch()
            good: list[tuple[int, Subject]] = []
            for row in rows:
                try:
                    if row["known"]:
                        raise Unroutable(f"an event with the id {row['id']} is in the log already")
                    good.append((row["seq"], subject_of(row["type"], row["data"], row["location_ids"])))
                except Unroutable as error:
                    await self._set_aside(connection, row["seq"], str(error))
            batch = await self._move(connection, good)
            self._adapt(len(rows), batch.deliveries)
            return Batch(len(rows), batch.events, batch.deliveries, batch.lanes)

    async def lane_wakes(self) -> list[UUID]:
        """Webhooks that somebody else gave something to do: a manual retry, a test, a resumed lane."""
        async with self._pool.acquire() as connection:
            return [row["webhook_id"] for row in await _SQL.take_lane_wakes.fetch(connection)]

    async def _move(self, connection: Connection, rows: Sequence[tuple[int, Subject]]) -> Batch:
        if not rows:
            return Batch()
        try:
            done = await self._statement(connection, rows)
        except _ROW_ERRORS as error:
            if _NO_PARTITION in str(error):
                raise
            if len(rows) == 1:
                await self._set_aside(connection, rows[0][0], f"{type(error).__name__}: {error}")
                return Batch()
            half = len(rows) // 2
            first = await self._move(connection, rows[:half])
            second = await self._move(connection, rows[half:])
            return Batch(
                0,
                first.events + second.events,
                first.deliveries + second.deliveries,
                tuple(dict.fromkeys(first.lanes + second.lanes)),
            )
        return Batch(0, done["events"], done["deliveries"], tuple(done["lanes"]))

    async def _statement(self, connection: Connection, rows: Sequence[tuple[int, Subject]]) -> asyncpg.Record:
        subjects = [subject for _, subject in rows]
        for last_try in (False, True):
            try:
                done = await _SQL.fan_out.fetchrow(
                    connection,
                    seqs=[seq for seq, _ in rows],
                    datas=[subject.data for subject in subjects],
                    audiences=[subject.audience for subject in subjects],
                    locations=[_array(subject.location_ids) for subject in subjects],
                    categories=[subject.category_id for subject in subjects],
                    users=[_array(subject.user_ids) for subject in subjects],
                    stocks=[subject.stock for subject in subjects],
                    items=[subject.item_id for subject in subjects],
                )
                assert done is not None, "the statement always gives one row"
                return done
            except CONTENDED:
                if last_try:
                    raise
        raise AssertionError("unreachable")

    async def _set_aside(self, connection: Connection, seq: int, reason: str) -> None:
        await _SQL.set_aside.execute(connection, seq=seq, reason=reason)
        _log.error("an event cannot be fanned out and was set aside", seq=seq, reason=reason)

    def _adapt(self, rows: int, deliveries: int) -> None:
        if deliveries > TARGET_DELIVERIES:
            self._limit = max(1, rows * TARGET_DELIVERIES // deliveries)
        elif rows == self._limit:
            self._limit = min(MAX_EVENTS, self._limit * 2)


def _array(ids: Sequence[UUID]) -> str:
    return "{" + ",".join(map(str, ids)) + "}"
