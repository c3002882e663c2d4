"""Fan-out: events leave the outbox for the log, and a delivery is queued for each webhook that matches."""

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from uuid import UUID

import asyncpg

from relay.claim.slots import NOTHING, Offer
from relay.lead.batch import Batch, of_few, of_many
from relay.lead.doorbell import LOCK_CLASS, LOCK_DOORBELL
from service.delivery.subject import Subject, Unroutable, columns, subject_of
from service.platform.db import CONTENDED, is_of_a_row, lacks_partition
from service.platform.logs import get_logger
from service.platform.queries import Connection, Executor, load

_log = get_logger(__name__)
_SQL = load("fanout")

MAX_EVENTS = 500
# A leader begins with so many and doubles them: it does not know yet how many webhooks an event is for, and a statement that takes
# longer than its connection waits for would be begun anew for ever.
FIRST_EVENTS = 16
# So many at most go one by one, where that is all there is.
FEW_EVENTS = 3
# A statement should stay short, so an event that matches thousands of webhooks makes the next batches smaller.
TARGET_DELIVERIES = 5000

# What a row's own content can cause in the statement. Anything else (no partition, disk full, a lock) is not the row's fault: it
# is kept, and tried again.
AHEAD = "it stood at a position, or in an order, that had not been given yet"
_ROW_ERRORS = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError, asyncpg.ProgramLimitExceededError)


class FanOut:
    """Used by the leader only, one batch at a time."""

    def __init__(self, connection: Executor, limit: int = MAX_EVENTS, most: int = MAX_EVENTS) -> None:
        """`limit`: how many events the first batch may have; `most`: and any."""
        self.connection = connection
        self._limit = min(limit, most)
        self._most = most
        # As it was in the last batch: whether webhooks ask for order, and of how many rows some cannot be moved as they are.
        self._in_order = False
        self._stuck = 0
        # Whether the last batch had few.
        self._few = True
        self._sleepy = False
        # How many seconds the last batch that was to wait for writers did; None if it did not.
        self.waited: float | None = None

    async def batch(
        self,
        offer: Callable[[], Offer] = lambda: NOTHING,
        *,
        asleep: bool = False,
        sleepy: bool = False,
        patience_ms: int = 0,
    ) -> Batch:
        """Fan out the oldest rows. A row that cannot be is set aside with its reason, and stops nothing. `offer` is asked for slots
        that are then leased to; `asleep`: the doorbell's lock is held, and to be let go of; `sleepy`: and to be taken again, if
        there is nothing more to do; `patience_ms`: how long to wait for writers in flight first, if this goes one by one."""
        self._sleepy = sleepy
        aside = await self._route()
        offered = offer()
        if patience_ms:
            self.waited = None
        if self.few:
            batch, asleep = await self._one_by_one(offered, asleep=asleep, patience_ms=patience_ms)
            if batch is not None:
                return replace(batch, taken=batch.taken + aside)
        suspect: int | None = None
        while True:
            try:
                batch = await self._oldest(self._limit, offered, asleep=asleep)
            except _ROW_ERRORS as error:
                if lacks_partition(error) or isinstance(error, asyncpg.NotNullViolationError):
                    # There is no partition, or no head of the log.
                    raise
                if isinstance(error, asyncpg.UniqueViolationError) and error.table_name == "deliveries":
                    # No event is to blame for a delivery that stands where its own is to go. Where none does, it is the event.
                    ended = await _SQL.end_ahead.fetchval(self.connection, reason=AHEAD)
                    _log.error("deliveries stood where the log has not come to", ended=ended)
                    if ended:
                        asleep = asleep or sleepy
                        continue
                # One of them is refused. It is found by halving; those before it go first. An older one may have been committed
                # since: the one it is was the oldest before the statement, and is it after it.
                if self._limit == 1:
                    oldest = await _SQL.oldest.fetchval(self.connection)
                    if oldest is not None and oldest == suspect:
                        await self._set_aside(oldest, _why(error))
                        aside += 1
                    suspect = oldest
                self._limit = max(1, self._limit // 2)
                # It may have let go of the lock, and taken it again, before it was undone: that is not.
                asleep = asleep or sleepy
                continue
            if self._stuck and not batch.events:
                aside += await self._route()
                # Somebody may have taken away what was stuck meanwhile, and then it has fallen asleep.
                asleep = batch.state == "asleep"
                continue
            return replace(batch, taken=batch.taken + aside)

    @property
    def limit(self) -> int:
        """How many events the next batch may have."""
        return self._limit

    @property
    def few(self) -> bool:
        """Whether few events are expected."""
        return self._few and not (self._in_order or self._stuck)

    def allow(self, most: int) -> None:
        """How many any batch may have."""
        self._most = most

    async def lane_wakes(self) -> list[UUID]:
        """Webhooks that somebody else gave something to do: a manual retry, a test, a resumed lane."""
        return [row["webhook_id"] for row in await _SQL.take_lane_wakes.fetch(self.connection)]

    async def anything(self) -> bool:
        """Whether there is anything to look at."""
        return bool(await _SQL.anything.fetchval(self.connection))

    async def _one_by_one(self, offer: Offer, *, asleep: bool, patience_ms: int) -> tuple[Batch | None, bool]:
        """None if a batch is to be tried; and whether the doorbell's lock may be held then."""
        room = offer.per_webhook if offer.most else FEW_EVENTS
        asked = time.monotonic()
        try:
            *events, said = await _SQL.fan_out_few.fetch(
                self.connection,
                few=min(FEW_EVENTS, self._limit, room),
                patience_ms=patience_ms,
                asleep=asleep,
                sleepy=self._sleepy,
                class_id=LOCK_CLASS,
                object_id=LOCK_DOORBELL,
                relay_id=offer.relay_id,
                most=offer.most,
                crowded=offer.crowded,
            )
        except (*CONTENDED, *_ROW_ERRORS):
            # It may have let go of the lock, and taken it again, before it was undone: that is not.
            return None, asleep or self._sleepy
        if patience_ms:
            self.waited = (said["claimed_at"] - said["event_at"]).total_seconds()
        self._few = said["moved"] is not None
        if not self._few:
            return None, False
        batch = of_few(events, said, asked)
        self._adapt(batch.events, batch)
        return batch, False

    async def _oldest(self, limit: int, offer: Offer, *, asleep: bool) -> Batch:
        batch, done = await self._try(limit, offer, asleep=asleep)
        if done["ordered"] and not self._in_order and done["rows"]:
            # Nothing was moved: it takes a transaction.
            self._in_order = True
            batch, done = await self._try(limit, offer, asleep=done["state"] == "asleep")
        self._in_order = done["ordered"]
        self._few = (done["rows"] or 0) <= FEW_EVENTS
        if done["stuck"]:
            self._stuck = limit
        self._adapt(done["rows"], batch)
        full = done["rows"] == limit or bool(done["stuck"])
        return replace(batch, full=full, wakes=done["wakes"], state=done["state"] or "work")

    async def _try(self, limit: int, offer: Offer, *, asleep: bool) -> tuple[Batch, asyncpg.Record]:
        try:
            return await self._transaction(limit, offer, asleep=asleep)
        except CONTENDED:
            return await self._transaction(limit, offer, asleep=asleep or self._sleepy)

    async def _transaction(self, limit: int, offer: Offer, *, asleep: bool) -> tuple[Batch, asyncpg.Record]:
        """One statement; two where a webhook asks for order."""
        asked = time.monotonic()
        if not self._in_order:
            done = await self._statement(self.connection, limit, offer, asleep=asleep)
            return of_many(done, asked), done
        async with _one(self.connection) as connection, connection.transaction():
            done = await self._statement(connection, limit, offer, asleep=asleep)
            queued = await _queue_in_order(connection, done)
        batch = of_many(done, asked)
        if queued is not None:
            lanes = tuple(dict.fromkeys((*batch.lanes, *(queued["lanes"] or ()))))
            batch = replace(batch, deliveries=batch.deliveries + queued["deliveries"], lanes=lanes)
        return batch, done

    async def _statement(self, connection: Executor, limit: int, offer: Offer, *, asleep: bool) -> asyncpg.Record:
        done = await _SQL.fan_out.fetchrow(
            connection,
            batch=limit,
            asleep=asleep,
            class_id=LOCK_CLASS,
            object_id=LOCK_DOORBELL,
            relay_id=offer.relay_id,
            most=offer.most,
            per_webhook=offer.per_webhook,
            crowded=offer.crowded,
            in_order=self._in_order,
            sleepy=self._sleepy,
        )
        assert done is not None, "the statement always gives one row"
        return done

    async def _route(self) -> int:
        """Say of rows that are stuck what they are about, where who wrote them did not. How many had to be set aside."""
        if not self._stuck:
            return 0
        aside = 0
        good: list[tuple[int, Subject]] = []
        for row in await _SQL.read_stuck.fetch(self.connection, batch=self._stuck):
            try:
                if row["known"]:
                    raise Unroutable(f"an event with the id {row['id']} is in the log already")
                good.append((row["seq"], subject_of(row["type"], row["data"], row["location_ids"])))
            except Unroutable as error:
                await self._set_aside(row["seq"], str(error))
                aside += 1
            except Exception as error:  # noqa: BLE001 - whatever it is, it is this row's
                _log.exception("an event cannot be read", seq=row["seq"])
                await self._set_aside(row["seq"], _why(error))
                aside += 1
        try:
            await self._say(good)
        except Exception as together:
            if not is_of_a_row(together):
                raise
            for each in good:
                try:
                    await self._say([each])
                except Exception as error:
                    if not is_of_a_row(error):
                        raise
                    await self._set_aside(each[0], _why(error))
                    aside += 1
        self._stuck = 0
        return aside

    async def _say(self, rows: Sequence[tuple[int, Subject]]) -> None:
        if rows:
            subjects = [subject for _, subject in rows]
            datas = [subject.data for subject in subjects]
            await _SQL.route.execute(self.connection, seqs=[seq for seq, _ in rows], datas=datas, **columns(subjects))

    async def _set_aside(self, seq: int, reason: str) -> None:
        await _SQL.set_aside.execute(self.connection, seq=seq, reason=reason)
        _log.error("an event cannot be fanned out and was set aside", seq=seq, reason=reason)

    def _adapt(self, rows: int | None, batch: Batch) -> None:
        if batch.deliveries > TARGET_DELIVERIES:
            self._limit = max(1, batch.events * TARGET_DELIVERIES // batch.deliveries)
        elif rows == self._limit or (rows and self._limit < FIRST_EVENTS):
            self._limit = min(self._most, self._limit * 2)


def _why(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


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
