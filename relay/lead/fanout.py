"""Fan-out: moves events from the outbox to the log, and queues a delivery for each webhook that
matches."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from uuid import UUID

import asyncpg

from relay.claim.slots import NOTHING, Offer
from relay.lead.batch import Batch, batch_of
from relay.lead.doorbell import LOCK_CLASS, LOCK_DOORBELL
from service.delivery.subject import Subject, Unroutable, columns, subject_of
from service.platform.db import CONTENDED, is_of_a_row, lacks_partition
from service.platform.logs import get_logger
from service.platform.queries import Executor, load

_log = get_logger(__name__)
_SQL = load("fanout")

MAX_EVENTS = 500
# A leader begins with so many and doubles them: it does not know yet how many webhooks match. A
# batch that takes longer than its connection waits would be tried again for ever.
FIRST_EVENTS = 16
# If the outbox holds no more than this, events are fanned out one by one.
FEW_EVENTS = 3
# A statement should stay short, so an event that matches thousands of webhooks makes the next
# batches smaller.
TARGET_DELIVERIES = 5000

# The reason recorded for deliveries that the statement `end_ahead` ends.
AHEAD = "it stood at a position, or in an order, that had not been given yet"
# Errors that a row's own content can cause in the statement. Any other error (no partition, disk
# full, a lock) is not the row's fault: the row stays, and the statement is tried again.
_ROW_ERRORS = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError, asyncpg.ProgramLimitExceededError)


class FanOut:
    """Used by the leader only, one batch at a time."""

    def __init__(self, connection: Executor, limit: int = MAX_EVENTS, most: int = MAX_EVENTS) -> None:
        """`limit`: the most events of the first batch. `most`: of any batch."""
        self.connection = connection
        self._limit = min(limit, most)
        self._most = most
        # The limit of the last batch, if it met stuck rows, which cannot be moved as they are. 0 if
        # it met none.
        self._stuck = 0
        # Whether the last batch looked at few rows.
        self._few = True
        # How many seconds the last batch with `patience_ms` waited for writers. None if it did not
        # wait, or failed.
        self.waited: float | None = None

    async def batch(
        self,
        offer: Callable[[], Offer] = lambda: NOTHING,
        *,
        release_first: bool = False,
        sleep_if_idle: bool = False,
        patience_ms: int = 0,
    ) -> Batch:
        """Fans out the oldest rows. A row that cannot be fanned out is set aside with its reason.

        `offer` returns slots, for which the statement then leases deliveries. `release_first`: the
        doorbell's lock is held; release it before looking. `sleep_if_idle`: take it again if
        nothing is left. `patience_ms`: if few events are expected, wait at most this long for
        writers in flight.
        """
        aside = await self._route()
        offered = offer()
        if patience_ms:
            self.waited = None
            patience_ms = patience_ms if self.few else 0
        suspect: int | None = None
        while True:
            try:
                batch = await self._oldest(
                    self._limit,
                    offered,
                    release_first=release_first,
                    sleep_if_idle=sleep_if_idle,
                    patience_ms=patience_ms,
                )
            except _ROW_ERRORS as error:
                # The statement may have taken the doorbell's lock. An error does not undo that.
                release_first, patience_ms = release_first or sleep_if_idle, 0
                if lacks_partition(error) or isinstance(error, asyncpg.NotNullViolationError):
                    # There is no partition, or the log's head is missing.
                    raise
                if isinstance(error, asyncpg.UniqueViolationError) and error.table_name == "deliveries":
                    # Deliveries may hold numbers not given yet: end them. If none, the row is bad.
                    ended = await _SQL.end_ahead.fetchval(self.connection, reason=AHEAD)
                    _log.error("deliveries stood where the log has not come to", ended=ended)
                    if ended:
                        continue
                # One row is refused. Halving finds it, and the rows before it go first. An older
                # row may have been committed meanwhile. So a row is blamed only if it was the
                # oldest both before and after the statement that failed.
                if self._limit == 1:
                    oldest = await _SQL.oldest.fetchval(self.connection)
                    if oldest is not None and oldest == suspect:
                        await self._set_aside(oldest, _why(error))
                        aside += 1
                    suspect = oldest
                self._limit = max(1, self._limit // 2)
                continue
            patience_ms = 0
            if self._stuck and not batch.events:
                aside += await self._route()
                # Somebody may have removed the stuck rows meanwhile. Then the leader fell asleep.
                release_first = batch.state == "asleep"
                continue
            return replace(batch, taken=batch.taken + aside)

    @property
    def limit(self) -> int:
        """The most events of the next batch."""
        return self._limit

    @property
    def few(self) -> bool:
        """Whether few events are expected."""
        return self._few and not self._stuck

    def allow(self, most: int) -> None:
        """Sets the most events of any batch."""
        self._most = most

    async def lane_wakes(self) -> list[UUID]:
        """Takes the webhooks for which the API has asked something: a manual retry, a test, a
        resumed lane."""
        return [row["webhook_id"] for row in await _SQL.take_lane_wakes.fetch(self.connection)]

    async def anything(self) -> bool:
        """Whether the outbox or `lane_wakes` has rows."""
        return bool(await _SQL.anything.fetchval(self.connection))

    async def _oldest(
        self, limit: int, offer: Offer, *, release_first: bool, sleep_if_idle: bool, patience_ms: int
    ) -> Batch:
        try:
            done, asked = await self._statement(
                limit, offer, release_first=release_first, sleep_if_idle=sleep_if_idle, patience_ms=patience_ms
            )
        except CONTENDED:
            done, asked = await self._statement(
                limit, offer, release_first=release_first or sleep_if_idle, sleep_if_idle=sleep_if_idle, patience_ms=0
            )
        else:
            if patience_ms:
                self.waited = (done["claimed_at"] - done["event_at"]).total_seconds()
        self._few = done["seen"] <= FEW_EVENTS
        if done["stuck"]:
            self._stuck = limit
        batch = batch_of(done, asked)
        self._adapt(done["seen"], batch)
        return batch

    async def _statement(
        self, limit: int, offer: Offer, *, release_first: bool, sleep_if_idle: bool, patience_ms: int
    ) -> tuple[asyncpg.Record, float]:
        """The reply, and when the statement was sent, in monotonic seconds."""
        asked = time.monotonic()
        done = await _SQL.fan_out.fetchrow(
            self.connection,
            batch=limit,
            few=FEW_EVENTS,
            patience_ms=patience_ms,
            release_first=release_first,
            sleep_if_idle=sleep_if_idle,
            class_id=LOCK_CLASS,
            object_id=LOCK_DOORBELL,
            relay_id=offer.relay_id,
            most=offer.most,
            per_webhook=offer.per_webhook,
            crowded=offer.crowded,
        )
        assert done is not None, "the function always gives one row"
        return done, asked

    async def _route(self) -> int:
        """Derives the subjects of stuck rows whose writers stored none. Returns how many rows had
        to be set aside."""
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
