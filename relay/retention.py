"""Housekeeping of queues and logs, by the leader: partitions made and dropped, deliveries that nobody wants any more ended."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from uuid import UUID

import asyncpg

from relay.order import Order
from relay.outage import Outage
from relay.settle import announce
from service.platform.db import AWAY, CONTENDED, Pool
from service.platform.logs import get_logger
from service.platform.queries import Connection, load
from service.platform.settings import Settings

_log = get_logger(__name__)
_SQL = load("record")
_ORDER = load("order")
_ANSWERS = load("idempotency")
_CLOCK = load("clock")
_EPOCH = load("epoch")
_REPLAY = load("replay")
_FORGET = load("retention")

DAYS_AHEAD = 7
EVERY_SECONDS = 3600.0
ANNOUNCE_SECONDS = 60.0
BATCH = 1000
LOCK_TRIES = 50
_FOR_EVER = 10**9  # seconds


class Retention:
    """`on_due` hears of lanes where the next of an item has become due, and in how many seconds."""

    def __init__(self, pool: Pool, outage: Outage, settings: Settings, on_due: Callable[[UUID, float], None]) -> None:
        self._pool = pool
        self._outage = outage
        self._on_due = on_due
        self._ttl = settings.webhook_event_ttl
        self._answers_ttl = settings.jossiedb_idempotency_ttl.total_seconds()
        self._job_ttl = int(settings.jossiedb_job_ttl.total_seconds())
        self._kept = (
            (_FORGET.forget_sessions, settings.jossiedb_session_ttl),
            (_FORGET.forget_login_failures, settings.jossiedb_throttle_ttl),
            (_FORGET.forget_audit, settings.jossiedb_audit_ttl),
        )
        self._discard = asyncio.Event()
        self._jumps = 0
        # Hears that deliveries may have become due.
        self.on_rescheduled: Callable[[], Awaitable[None]] = _nothing

    def discard_now(self) -> None:
        """A webhook was deleted, or its backlog dropped."""
        self._discard.set()

    def reschedule(self) -> None:
        """The server's clock has jumped."""
        self._jumps += 1
        self._discard.set()

    async def run(self, leads: asyncio.Event, steady: Callable[[], bool] = lambda: False) -> None:
        """Every hour while this relay leads, and whenever something is to be discarded; announcements every minute. What destroys
        by the time is done only while the server's clock is `steady`."""
        next_round = next_drop = 0.0
        jumps = self._jumps
        while True:
            if not leads.is_set():
                # It is no longer this relay's to do.
                self._outage.over("housekeeping")
                await leads.wait()
            self._discard.clear()
            now = time.monotonic()
            hourly, drop, jumped = now >= next_round, steady() and now >= next_drop, self._jumps
            try:
                # Where the clock has jumped, or no lock was to be had, all wait for a partition that is missing.
                await _each(
                    self._make_partitions, self.discard, partial(self._release_needless, steady()), self.announce
                )
                if hourly or jumped != jumps:
                    await _each(self._reschedule)
                    next_round = now + EVERY_SECONDS
                if jumped != jumps:
                    # Nobody knows for how long webhooks have failed.
                    await _CLOCK.fail_from_now.execute(self._pool)
                    jumps = jumped
                if drop:
                    next_drop = now + EVERY_SECONDS
                    await _each(*self._by_time)
            except asyncpg.QueryCanceledError as error:
                # A step took longer than a statement may, and would again.
                _log.warning("housekeeping waits", error=str(error))
                next_round = now + EVERY_SECONDS
            except (*AWAY, *CONTENDED) as error:
                await self._outage.wait("housekeeping", error)
                continue
            except asyncpg.PostgresError as error:
                # One that was stopped, and does not know that it leads no more, may have been at the same.
                _log.warning("housekeeping waits", error=str(error))
            self._outage.over("housekeeping")
            try:
                async with asyncio.timeout(ANNOUNCE_SECONDS):
                    await self._discard.wait()
            except TimeoutError:
                pass

    async def once(self) -> None:
        """All of it, whatever the clock has done."""
        await _each(self._make_partitions, self.discard, self._reschedule, *self._by_time)

    @property
    def _by_time(self) -> tuple[Callable[[], Awaitable[None]], ...]:
        """What destroys by the time that it is."""
        return (
            self._expire_all,
            partial(self._release_needless, True),
            self._forget,
            self._drop_partitions,
            self._fold,
        )

    async def _reschedule(self) -> None:
        """What was put off by a clock that was ahead."""
        rescheduled = 0
        while count := await _CLOCK.reschedule.fetchval(self._pool, batch=10 * BATCH):
            rescheduled += count
        lanes = await _CLOCK.reset_lanes.fetchval(self._pool)
        if rescheduled or lanes:
            _log.warning("a clock that was ahead had put these off", deliveries=rescheduled, lanes=lanes)
            await self.on_rescheduled()

    async def _expire_all(self) -> None:
        while await self._in_order(partial(Order.expired, ttl_seconds=self._ttl), self._expire) == BATCH:
            pass

    async def _release_needless(self, steady: bool) -> None:
        # While the clock cannot be trusted, nothing is too old.
        ttl = self._ttl if steady else _FOR_EVER
        while await self._in_order(partial(Order.needless, ttl_seconds=ttl), self._release) == BATCH:
            pass

    async def _forget(self) -> None:
        while await _ORDER.forget.execute(self._pool, batch=BATCH) == f"DELETE {BATCH}":
            pass
        await _SQL.forget_tests.execute(self._pool)
        while await _EPOCH.forget_marks.execute(self._pool, batch=BATCH) == f"DELETE {BATCH}":
            pass
        while await _ANSWERS.forget.fetchval(self._pool, batch=BATCH, ttl_seconds=self._answers_ttl, now=None) == BATCH:
            pass
        while await _REPLAY.forget_jobs.fetchval(self._pool, batch=BATCH, ttl_seconds=self._job_ttl) == BATCH:
            pass
        for statement, ttl in self._kept:
            while await statement.execute(self._pool, batch=BATCH, ttl=ttl, now=None) == f"DELETE {BATCH}":
                pass

    async def _fold(self) -> None:
        kept = timedelta(seconds=self._ttl)
        while await _FORGET.fold_counts.fetchval(self._pool, batch=BATCH, ttl=kept, now=None) == BATCH:
            pass

    async def announce(self) -> None:
        """Failures that came too soon after those that a delivery-failed event has told of."""
        async with self._pool.acquire() as connection, connection.transaction():
            await announce(connection)

    async def discard(self) -> None:
        """In batches, so that no transaction is long."""
        while await self._in_order(Order.discarded, self._cancel) == BATCH:
            pass

    async def _in_order(
        self,
        locked: Callable[[Connection, int], Awaitable[Order]],
        step: Callable[[Connection, Order], Awaitable[int]],
    ) -> int:
        """One batch. What waits behind deliveries that end, or that blocked, is let go in the same transaction."""
        async with self._pool.acquire() as connection, connection.transaction():
            order = await locked(connection, BATCH)
            count = await step(connection, order)
            due = await order.promote()
        for webhook_id, seconds in due:
            self._on_due(webhook_id, seconds)
        return count

    async def _cancel(self, connection: Connection, order: Order) -> int:
        ended: int = await _SQL.cancel_discarded.fetchval(
            connection, batch=BATCH, webhook_ids=order.webhook_ids, item_ids=order.item_ids
        )
        return ended

    async def _expire(self, connection: Connection, order: Order) -> int:
        ended: int = await _SQL.expire.fetchval(
            connection,
            batch=BATCH,
            ttl_seconds=self._ttl,
            now=None,
            webhook_ids=order.webhook_ids,
            item_ids=order.item_ids,
        )
        return ended

    async def _release(self, _: Connection, order: Order) -> int:
        await order.skip("skipped: nobody can resolve it any more, or its webhook no longer asks for that")
        return len(order)

    async def _make_partitions(self) -> None:
        made = await _SQL.make_partitions.fetchval(self._pool, days_ahead=DAYS_AHEAD)
        if made:
            _log.info("made partitions", made=made)

    async def _drop_partitions(self) -> None:
        # Each in a transaction of its own: its lock is held while it is dropped, and not while the next is looked for.
        while (dropped := await _SQL.drop_partition.fetchval(self._pool, ttl_seconds=self._ttl, now=None)) is not None:
            _log.info("dropped a partition", dropped=dropped)


async def _nothing() -> None:
    pass


async def _each(*steps: Callable[[], Awaitable[None]]) -> None:
    """One after the other. What took longer than a statement may is told of when the others are done."""
    too_long: asyncpg.QueryCanceledError | None = None
    for step in steps:
        try:
            await _patiently(step)
        except asyncpg.QueryCanceledError as error:
            too_long = error
    if too_long is not None:
        raise too_long


async def _patiently(step: Callable[[], Awaitable[None]]) -> None:
    """Partitions are made and dropped with a lock that is given up after 100 ms, so that nobody queues behind; tried again until it
    is had."""
    for _ in range(LOCK_TRIES):
        try:
            await step()
            return
        except asyncpg.LockNotAvailableError:
            await asyncio.sleep(0.2)
    _log.warning("no lock for housekeeping; the next round tries again")
