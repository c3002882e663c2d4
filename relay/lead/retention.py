"""Housekeeping of queues and logs, done by the leader: makes and drops partitions, ends deliveries
that are no longer wanted, and removes old rows."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import TypeAlias

import asyncpg

from relay.board import Board
from relay.identity import Identity
from relay.lead.partitions import Partitions
from relay.record.order import Only, Order
from relay.record.settle import Clock, announce
from relay.service import Service
from relay.watch.outage import Outage
from service.platform.db import Pool, is_away, is_of_a_row, is_passing
from service.platform.logs import get_logger
from service.platform.queries import Connection, Statement, load
from service.platform.server_clock import SERVER_CLOCK
from service.platform.settings import Settings

_log = get_logger(__name__)
_SQL = load("retention")

EVERY_SECONDS = 3600.0
ANNOUNCE_SECONDS = 60.0
BATCH = 1000
LOCK_TRIES = 50
_FOR_EVER = 10**9  # seconds
# `Locked` locks the items of a batch. `Ending` ends the batch's deliveries and says how many.
Locked: TypeAlias = Callable[[Connection, int, Only], Awaitable[Order]]
Ending: TypeAlias = Callable[[Connection, Order, Only], Awaitable[int]]


class Retention(Service):
    """Housekeeping, while this relay leads. Rows are removed by their age only while the server's
    `clock` is steady."""

    name = "housekeeping"

    def __init__(
        self,
        pool: Pool,
        board: Board,
        outage: Outage,
        identity: Identity,
        settings: Settings,
        clock: Clock = SERVER_CLOCK,
    ) -> None:
        self._pool = pool
        self._board = board
        self._outage = outage
        self._leads = identity.leads
        self._clock = clock
        self._ttl = settings.webhook_event_ttl
        self._answers_ttl = settings.jossiedb_idempotency_ttl.total_seconds()
        self._job_ttl = int(settings.jossiedb_job_ttl.total_seconds())
        self._kept = (
            (_SQL.forget_sessions, settings.jossiedb_session_ttl),
            (_SQL.forget_login_failures, settings.jossiedb_throttle_ttl),
            (_SQL.forget_audit, settings.jossiedb_audit_ttl),
        )
        self._partitions = Partitions(pool, self._ttl)

    async def run(self) -> None:
        """Does a round every minute, and whenever the board asks for one. Each round makes
        partitions, ends discarded deliveries, releases items that are blocked for nothing, and
        announces failures. The other steps run once an hour. After a jump of the clock, times that
        are wrong by it are corrected at once."""
        next_round = next_drop = 0.0
        jumps = self._board.jumps
        while True:
            if not self._leads.is_set():
                # A relay that does not lead has none of this work. If it failed before, the outage
                # need not wait for it.
                self._outage.over(self.name)
                await self._leads.wait()
                if self._clock.steady:
                    # An earlier leader has handled a jump of long ago.
                    jumps = self._board.jumps
            self._board.housekeeping.clear()
            now = time.monotonic()
            hourly, jumped, steady = now >= next_round, self._board.jumps, self._clock.steady
            drop = steady and now >= next_drop
            try:
                # Each round makes partitions. All parts wait for a partition that is missing
                # because the clock has jumped or its lock was refused.
                await _each(self._partitions.make, self.discard, partial(self._release_needless, steady), self.announce)
                if hourly or jumped != jumps:
                    await _each(self._reschedule)
                    next_round = now + EVERY_SECONDS
                if jumped != jumps:
                    await _each(self._fail_from_now)
                    jumps = jumped
                if drop:
                    next_drop = now + EVERY_SECONDS
                    await _each(*self._by_time)
            except Exception as error:
                if not is_passing(error):
                    raise
                await self._outage.wait(self.name, error)
                continue
            self._outage.over(self.name)
            try:
                async with asyncio.timeout(ANNOUNCE_SECONDS):
                    await self._board.housekeeping.wait()
            except TimeoutError:
                pass

    async def once(self) -> None:
        """Does once what a round and the hourly steps do, even if the clock is not steady. It does
        not announce failures."""
        await _each(self._partitions.make, self.discard, self._reschedule, *self._by_time)

    @property
    def _by_time(self) -> tuple[Callable[[], Awaitable[None]], ...]:
        """Steps that remove rows by their age."""
        return (
            self._expire_all,
            partial(self._release_needless, True),
            partial(self._forget, _SQL.forget_orders),
            partial(self._forget, _SQL.forget_tests),
            partial(self._forget, _SQL.forget_marks),
            partial(self._forget, _SQL.forget_answers, ttl_seconds=self._answers_ttl, now=None),
            partial(self._forget, _SQL.forget_jobs, ttl_seconds=self._job_ttl),
            *(partial(self._forget, statement, ttl=ttl, now=None) for statement, ttl in self._kept),
            self._partitions.drop,
            partial(self._forget, _SQL.fold_counts, ttl=timedelta(seconds=self._ttl), now=None),
        )

    async def _reschedule(self) -> None:
        """Corrects times that a clock that was ahead has set too late."""
        rescheduled = 0
        while count := await _SQL.reschedule.fetchval(self._pool, batch=10 * BATCH):
            rescheduled += count
        healths = await _SQL.reset_health.fetchval(self._pool)
        if rescheduled or healths:
            _log.warning("a clock that was ahead had put these off", deliveries=rescheduled, receivers=healths)
            self._board.sweep_everywhere()

    async def _fail_from_now(self) -> None:
        """Nobody knows for how long webhooks have failed, so that time begins now."""
        await _SQL.fail_from_now.execute(self._pool)

    async def _forget(self, statement: Statement, **known: object) -> None:
        while await statement.fetchval(self._pool, batch=BATCH, **known) == BATCH:
            pass

    async def _expire_all(self) -> None:
        await self._for_each_webhook(
            partial(self._batches, partial(Order.expired, ttl_seconds=self._ttl), self._expire)
        )

    async def _release_needless(self, steady: bool) -> None:
        # While the clock cannot be trusted, nothing is too old.
        ttl = self._ttl if steady else _FOR_EVER
        await self._for_each_webhook(partial(self._batches, partial(Order.needless, ttl_seconds=ttl), self._release))

    async def announce(self) -> None:
        """Announces failures that were too soon after the last delivery-failed event of their
        webhook."""

        async def step(only: Only) -> None:
            async with self._pool.acquire() as connection, connection.transaction():
                await announce(connection, only)

        await self._for_each_webhook(step)

    async def discard(self) -> None:
        """Ends discarded deliveries, in batches, so that no transaction is long."""
        await self._for_each_webhook(partial(self._batches, Order.discarded, self._cancel))

    async def _for_each_webhook(self, step: Callable[[Only], Awaitable[None]]) -> None:
        """Does a step for all webhooks at once. If a row of one makes that fail, it is done for
        each webhook by itself."""
        try:
            await step(None)
        except Exception as error:
            if not is_of_a_row(error):
                raise
            _log.warning("housekeeping is done for each webhook by itself", error=repr(error))
        else:
            return
        for row in await _SQL.concerned.fetch(self._pool, ttl_seconds=self._ttl, now=None):
            try:
                await step([row["webhook_id"]])
            except Exception as error:
                if not is_of_a_row(error):
                    raise
                _log.exception("housekeeping leaves out a webhook", webhook_id=str(row["webhook_id"]))

    async def _batches(self, locked: Locked, step: Ending, only: Only) -> None:
        while await self._in_order(locked, step, only) == BATCH:
            pass

    async def _in_order(self, locked: Locked, step: Ending, only: Only) -> int:
        """One batch. Deliveries that wait behind those that end, or behind one that blocks, become
        due in the same transaction."""
        async with self._pool.acquire() as connection, connection.transaction():
            order = await locked(connection, BATCH, only)
            count = await step(connection, order, only)
            due = await order.promote()
        for webhook_id, seconds in due:
            self._board.due_in(webhook_id, seconds)
        return count

    async def _cancel(self, connection: Connection, order: Order, only: Only) -> int:
        ended: int = await _SQL.cancel_discarded.fetchval(
            connection, batch=BATCH, only=only, webhook_ids=order.webhook_ids, item_ids=order.item_ids
        )
        return ended

    async def _expire(self, connection: Connection, order: Order, only: Only) -> int:
        ended: int = await _SQL.expire.fetchval(
            connection,
            batch=BATCH,
            only=only,
            ttl_seconds=self._ttl,
            now=None,
            webhook_ids=order.webhook_ids,
            item_ids=order.item_ids,
        )
        return ended

    async def _release(self, _: Connection, order: Order, __: Only) -> int:
        await order.skip("skipped: nobody can resolve it any more, or its webhook no longer asks for that")
        return len(order)


async def _each(*steps: Callable[[], Awaitable[None]]) -> None:
    """Runs the steps one after the other. A step that fails holds up no other, and is tried again
    in the next round. Raises errors which show that the server is away."""
    for step in steps:
        try:
            await _patiently(step)
        except asyncpg.PostgresError as error:
            if is_away(error):
                raise
            # The statement took too long. Or a relay that does not know yet that it no longer leads
            # is at the same step.
            _log.warning("a step of housekeeping is tried again later", step=_named(step), error=str(error))
        except Exception as error:
            if is_away(error):
                raise
            _log.exception("a step of housekeeping failed", step=_named(step))


def _named(step: Callable[[], Awaitable[None]]) -> str:
    if not isinstance(step, partial):
        return step.__name__
    statement = step.args[0]
    return f"{step.func.__name__} {statement.name}" if isinstance(statement, Statement) else step.func.__name__


async def _patiently(step: Callable[[], Awaitable[None]]) -> None:
    """Runs a step. Making and dropping partitions wait at most 100 ms for a lock, so that nobody
    queues behind them for longer. A step that got none is tried again, at most LOCK_TRIES times,
    and then in a later round."""
    for _ in range(LOCK_TRIES):
        try:
            await step()
            return
        except asyncpg.LockNotAvailableError:
            await asyncio.sleep(0.2)
    _log.warning("no lock for housekeeping; it is tried again later")
