"""Recording results in batches. One batch is recorded at a time, and the results that arrive
meanwhile form the next one."""

import asyncio
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from relay.board import Board
from relay.identity import Identity
from relay.record.give_up import give_up
from relay.record.notices import ABOUT_WEBHOOKS
from relay.record.order import Due, Order
from relay.record.result import Result
from relay.record.settle import HealthReport, Settler
from relay.rules.breaker import Observation
from relay.rules.policy import Decision
from relay.service import Service
from relay.transport import Exchange
from relay.watch.outage import RECORDER, Outage
from service.platform.db import CONTENDED, Pool, is_of_a_row, is_passing
from service.platform.logs import get_logger
from service.platform.queries import Connection, load

_log = get_logger(__name__)
_SQL = load("record")

MAX_BATCH = 500
# If there are fewer results than FEW and all are plain successes, they wait this long for more. A
# batch of one costs about as much as one of twenty, and nobody waits for successes.
FEW = 50
GATHER_SECONDS = 0.003
# While the database is away, so many results are kept. At this number, no more deliveries are
# claimed.
MAX_BUFFER = 5000
SKIPPED = "skipped: the later events of its item follow"


class Recorder(Service):
    """Holds results until the database has taken them. An outage drops none while the process
    lives.

    A result that the database refuses is recorded as failed, without its exchange. If that is
    refused, too, the delivery is ended by its ids alone. If even that is refused, its lease runs
    out.

    A retry goes to the board after it has been recorded. Its delay began when the database wrote
    it. So when the same delay has passed here, the delivery is due.
    """

    name = RECORDER

    def __init__(self, pool: Pool, board: Board, outage: Outage, identity: Identity, settler: Settler) -> None:
        self._pool = pool
        self._board = board
        self._outage = outage
        self._identity = identity
        self._settler = settler
        self._buffer: list[Result] = []
        self._arrived = asyncio.Event()
        self._all_recorded = asyncio.Event()
        self._all_recorded.set()
        self._awaited = False
        self.superseded = 0

    @property
    def full(self) -> bool:
        return len(self._buffer) >= MAX_BUFFER

    def add(self, result: Result) -> None:
        self._buffer.append(result)
        self._all_recorded.clear()
        self._arrived.set()

    async def stop(self) -> None:
        if not self.task.done():
            await self.drained()
        await super().stop()

    async def drained(self) -> None:
        """Wait until everything added so far is recorded."""
        self._awaited = True
        await self._all_recorded.wait()

    def fences(self) -> list[int]:
        """The fences of the results that are not recorded yet."""
        return [result.lease.fence for result in self._buffer]

    async def run(self) -> None:
        """Records results as they are added. While the database is away, waits, logs that once, and
        then goes on."""
        while True:
            if not self._buffer:
                await self._arrived.wait()
            self._arrived.clear()
            while self._buffer:
                if self._may_gather():
                    await asyncio.sleep(GATHER_SECONDS)
                batch = self._buffer[:MAX_BATCH]
                try:
                    batch = batch[: await self._record(batch)]
                except Exception as error:  # noqa: BLE001 - results are never dropped
                    if not is_passing(error):
                        # For example, a table is missing, or a type was created anew. New
                        # connections prepare their statements anew.
                        _log.exception("results cannot be recorded")
                        await self._pool.expire_connections()
                    await self._outage.wait(RECORDER, error, results_kept=len(self._buffer))
                    continue
                self._outage.over(RECORDER)
                was_full = self.full
                del self._buffer[: len(batch)]
                if was_full:
                    self._board.room()
                for result in batch:
                    if result.decision.delay_ms is not None:
                        self._board.due_in(result.lease.webhook_id, result.decision.delay_ms / 1000)
            self._awaited = False
            self._all_recorded.set()

    def _may_gather(self) -> bool:
        """Whether the results may wait for more. They may not if something waits for them: the
        timer of a retry, the next delivery of an item, or a caller of `drained`."""
        return (
            not self._awaited
            and len(self._buffer) < FEW
            and all(result.decision.outcome == "success" and not result.ends_in_order for result in self._buffer)
        )

    async def observe(self, webhook_id: UUID, observation: Observation) -> None:
        """Settles what a test of a webhook has shown about its receiver. A test is no delivery."""
        async with self._pool.acquire() as connection, connection.transaction():
            looks = await self._settler.settle(
                connection, {webhook_id: HealthReport([observation], silent=False)}, apart=True
            )
        self._look_again(looks)

    async def _record(self, batch: Sequence[Result]) -> int:
        """Returns how many of the batch, from the first on, have been recorded. Raises errors that
        are not the fault of a row."""
        try:
            try:
                await self._write(batch)
            except CONTENDED:
                await self._write(batch)
        except Exception as error:
            if not is_of_a_row(error):
                raise
            if not await self._write_apart(batch):
                # One of the results is refused. Halving the batch finds it.
                if len(batch) > 1:
                    return await self._record(batch[: len(batch) // 2])
                await self._record_refused(batch[0], error)
        return len(batch)

    async def _write_apart(self, batch: Sequence[Result]) -> bool:
        """Records a batch with each receiver settled by itself. True if that succeeds: then the
        database had refused a receiver's health, and none of the results."""
        try:
            await self._write(batch, apart=True)
        except Exception as error:
            if not is_of_a_row(error):
                raise
            return False
        return True

    async def _record_refused(self, result: Result, error: Exception) -> None:
        """The database has refused a result. Records its delivery as failed, without the exchange.
        If that is refused, too, ends the delivery by its ids alone. If even that is refused, its
        lease runs out."""
        lease, why = result.lease, "the result could not be recorded"
        known = {"webhook_id": str(lease.webhook_id), "event_id": str(lease.event_id)}
        _log.error("a result could not be recorded", **known, exc_info=error)
        failed = Result(lease, Decision("failed"), why, Exchange(), on_failure=result.on_failure)
        if await self._write_apart([failed]):
            return
        try:
            async with self._pool.acquire() as connection:
                await give_up(connection, lease.webhook_id, why, lease)
        except Exception as refused:
            if not is_of_a_row(refused):
                raise
            _log.exception("nor could it be ended", **known)

    async def _write(self, batch: Sequence[Result], *, apart: bool = False) -> None:
        """Records a batch, and its consequences.

        A batch with a failure, a retry or an end in an order is recorded in one transaction, which
        also settles the receivers' health and makes the next deliveries of items due.

        Any other batch is recorded by one statement. The health of receivers that were not well is
        settled after it. If the relay crashes in between, a count of failures stays until the next
        success.

        `apart`: each receiver is settled by itself.
        """
        looks: dict[UUID, float] = {}
        later: dict[UUID, HealthReport] = {}
        due: list[Due] = []
        ends = [result for result in batch if result.ends_in_order]
        async with self._pool.acquire() as connection:
            if not ends and all(result.decision.outcome not in {"retry", "failed"} for result in batch):
                superseded, unclean = await self._statement(connection, batch)
                later = _reports(batch, superseded, unclean)
            else:
                async with connection.transaction():
                    order = await Order.of(connection, [(end.lease.webhook_id, end.lease.item_id) for end in ends])
                    superseded, unclean = await self._statement(connection, batch)
                    await order.block([end.lease for end in ends if end.blocks and end.lease.fence not in superseded])
                    due = await order.promote()
                    failing = {result.lease.webhook_id for result in batch if result.decision.outcome != "success"}
                    reports = _reports(batch, superseded, failing.union(unclean))
                    looks = await self._settler.settle(connection, reports, apart=apart)
        if later:
            looks = await self._settle(later)
        if superseded:
            self.superseded += len(superseded)
            _log.warning("results came after their lease had been taken over", results=len(superseded))
        for webhook_id, seconds in due:
            self._board.due_in(webhook_id, seconds)
        self._look_again(looks)

    async def _settle(self, reports: Mapping[UUID, HealthReport]) -> dict[UUID, float]:
        """Settles the health for results that are recorded already. If it fails, only this is
        repeated, and not the recording."""
        apart = False
        while True:
            try:
                async with self._pool.acquire() as connection, connection.transaction():
                    return await self._settler.settle(connection, reports, apart=apart)
            except Exception as error:  # noqa: BLE001 - whatever it is, what is recorded stays
                if not is_of_a_row(error):
                    await self._outage.wait(RECORDER, error, results_kept=len(self._buffer))
                elif apart:
                    # The results are recorded, and must not be recorded twice.
                    _log.exception("what results mean for their receivers could not be settled", receivers=len(reports))
                    return {}
                apart = apart or is_of_a_row(error)

    def _look_again(self, looks: Mapping[UUID, float]) -> None:
        for webhook_id, seconds in looks.items():
            if seconds > 0:
                self._board.due_in(webhook_id, seconds)
        # After a success or a probe, these receivers may get requests again. Other relays may have
        # room for them.
        if freed := [webhook_id for webhook_id, seconds in looks.items() if seconds <= 0]:
            self._board.due(freed)
            self._board.hint_peers(freed)

    async def _statement(self, connection: Connection, batch: Sequence[Result]) -> tuple[set[int], list[UUID]]:
        """Returns the fences of results that were superseded, and the lanes of the others whose
        receivers were not well."""
        row = await _SQL.record.fetchrow(
            connection, relay_id=self._identity.relay_id, results=[attempt_result(result) for result in batch]
        )
        assert row is not None, "the statement always gives one row"
        return set(row["superseded"]), row["unclean"]


def attempt_result(result: Result) -> tuple[Any, ...]:
    """The result as a value of the SQL type `attempt_result`."""
    lease = result.lease
    exchange = result.exchange
    return (
        lease.webhook_id,
        lease.position,
        lease.fence,
        lease.event_id,
        lease.event_type,
        lease.event_at,
        result.attempt,
        result.decision.outcome,
        result.decision.delay_ms,
        lease.lost_by,
        result.url,
        result.request_headers,
        result.started_at,
        *((None,) * 8 if exchange is None else exchange.measured()),
        f"{result.error}; {SKIPPED}" if result.skips else result.error,
        lease.item_id,
        lease.sequence,
    )


def _reports(batch: Iterable[Result], superseded: Container[int], wanted: Container[UUID]) -> dict[UUID, HealthReport]:
    reports: dict[UUID, HealthReport] = {}
    for result in batch:
        lease = result.lease
        if lease.fence in superseded or lease.webhook_id not in wanted:
            continue
        report = reports.setdefault(lease.webhook_id, HealthReport())
        if (observation := result.observation) is not None:
            report.observations.append(observation)
        if lease.event_type not in ABOUT_WEBHOOKS:
            report.silent = False
            report.failed += result.decision.outcome == "failed"
            report.skipped += result.skips
    return reports
