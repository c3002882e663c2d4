"""Recording results, in batches: one flush in flight, and what gathers meanwhile is the next batch."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from relay.order import Order
from relay.policy import Decision
from relay.transport import Exchange
from service.platform.db import AWAY, CONTENDED, Pool
from service.platform.logs import get_logger
from service.platform.queries import Executor, load

_log = get_logger(__name__)
_SQL = load("record")

MAX_BATCH = 500
# So many unrecorded results are kept while the database is away; more, and nothing further is claimed.
MAX_BUFFER = 5000
BACKOFF_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.0)
SKIPPED = "skipped: the later events of its item follow"


@dataclass(frozen=True, slots=True)
class Lease:
    """A delivery that this relay may send, until the lease runs out."""

    webhook_id: UUID
    position: int
    fence: int
    event_id: UUID
    event_type: str
    event_at: datetime
    attempts: int
    attempts_before: int
    lost_leases: int
    lost_by: UUID | None
    data: str | None
    occurred_at: datetime | None
    traceparent: str | None
    # Where it stands in the order of its webhook and item, if the webhook asks for one.
    item_id: UUID | None
    sequence: int | None
    # Whether the webhook's owner may still read what the event is about.
    readable: bool


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a lease. `exchange` is None if nothing was sent; `error` is why it failed, None for a success."""

    lease: Lease
    decision: Decision
    error: str | None
    exchange: Exchange | None = None
    url: str | None = None
    request_headers: str | None = None
    started_at: datetime | None = None
    # What its webhook wants of an item's later events once one has failed for good.
    on_failure: str | None = None

    @property
    def attempt(self) -> int:
        """The number in the envelope; an end without a request keeps the count of those before it."""
        return self.lease.attempts + (1 if self.exchange is not None else 0)

    @property
    def blocks(self) -> bool:
        """The item's later events wait until somebody retries or skips this one."""
        return self._failed_in_order and self.on_failure == "block"

    @property
    def skips(self) -> bool:
        """The item's later events follow, though this one was not delivered."""
        return self._failed_in_order and self.on_failure == "skip"

    @property
    def _failed_in_order(self) -> bool:
        return self.lease.sequence is not None and self.decision.outcome == "failed"


class Recorder:
    """Holds results until they are in the database. Nothing is dropped while the process lives.

    `on_retry` hears of each retry, and in how many seconds it is due, after it has been recorded: by then the time that the
    database wrote has begun to run, so that who waits as long from now finds the delivery due.
    """

    def __init__(self, pool: Pool, on_retry: Callable[[UUID, float], None]) -> None:
        self._pool = pool
        self._on_retry = on_retry
        self.relay_id: UUID | None = None
        self._buffer: list[Result] = []
        self._arrived = asyncio.Event()
        self._flushed = asyncio.Event()
        self._flushed.set()
        self.superseded = 0

    @property
    def full(self) -> bool:
        return len(self._buffer) >= MAX_BUFFER

    def add(self, result: Result) -> None:
        self._buffer.append(result)
        self._flushed.clear()
        self._arrived.set()

    async def drained(self) -> None:
        """Wait until everything added so far is recorded."""
        await self._flushed.wait()

    async def run(self) -> None:
        """Record what is added, for ever. While the database is away it waits, says so once, and goes on."""
        failures = 0
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._buffer:
                batch = self._buffer[:MAX_BATCH]
                try:
                    await self._record(batch)
                except AWAY as error:
                    if failures == 0:
                        _log.warning(
                            "the database is away; results are kept", results=len(self._buffer), error=str(error)
                        )
                    await asyncio.sleep(BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS) - 1)])
                    failures += 1
                    continue
                if failures:
                    _log.info("the database is back; results are recorded")
                    failures = 0
                del self._buffer[: len(batch)]
                for result in batch:
                    if result.decision.delay_ms is not None:
                        self._on_retry(result.lease.webhook_id, result.decision.delay_ms / 1000)
            self._flushed.set()

    async def _record(self, batch: Sequence[Result]) -> None:
        try:
            await self._statement(batch)
        except CONTENDED:
            await self._statement(batch)
        except asyncpg.DataError as error:
            # Something in one of them is refused. Found by halving; that one is recorded as failed, without what it came with.
            if len(batch) > 1:
                half = len(batch) // 2
                await self._record(batch[:half])
                await self._record(batch[half:])
                return
            _log.error("a result could not be recorded", event_id=str(batch[0].lease.event_id), error=str(error))
            await self._statement(
                [
                    Result(
                        batch[0].lease,
                        Decision("failed"),
                        "the result could not be recorded",
                        Exchange(),
                        on_failure=batch[0].on_failure,
                    )
                ]
            )

    async def _statement(self, batch: Sequence[Result]) -> None:
        ended = [result for result in batch if result.lease.sequence is not None and result.decision.outcome != "retry"]
        if not ended:
            await self._write(self._pool, batch)
            return
        # What waits behind them is let go in the same transaction, or nothing is recorded: no item stands still.
        async with self._pool.acquire() as connection, connection.transaction():
            order = await Order.of(connection, [(end.lease.webhook_id, end.lease.item_id) for end in ended])
            await self._write(connection, batch)
            await order.block([end.lease for end in ended if end.blocks])
            due = await order.promote()
        for webhook_id, seconds in due:
            self._on_retry(webhook_id, seconds)

    async def _write(self, connection: Executor, batch: Sequence[Result]) -> None:
        exchanges = [result.exchange or Exchange() for result in batch]
        sent = [result.exchange is not None for result in batch]
        superseded: int = await _SQL.record.fetchval(
            connection,
            relay_id=self.relay_id,
            webhook_ids=[result.lease.webhook_id for result in batch],
            positions=[result.lease.position for result in batch],
            fences=[result.lease.fence for result in batch],
            event_ids=[result.lease.event_id for result in batch],
            event_types=[result.lease.event_type for result in batch],
            event_ats=[result.lease.event_at for result in batch],
            attempts=[result.attempt for result in batch],
            outcomes=[result.decision.outcome for result in batch],
            retry_ms=[result.decision.delay_ms for result in batch],
            lost_bys=[result.lease.lost_by for result in batch],
            urls=[result.url for result in batch],
            request_headers=[result.request_headers for result in batch],
            started_ats=[result.started_at for result in batch],
            dns_us=[exchange.dns_us for exchange in exchanges],
            connect_us=[exchange.connect_us for exchange in exchanges],
            tls_us=[exchange.tls_us for exchange in exchanges],
            first_byte_us=[exchange.first_byte_us for exchange in exchanges],
            total_us=[exchange.total_us if was else None for exchange, was in zip(exchanges, sent, strict=True)],
            statuses=[exchange.status for exchange in exchanges],
            response_headers=[exchange.headers for exchange in exchanges],
            response_bodies=[exchange.body for exchange in exchanges],
            errors=[f"{result.error}; {SKIPPED}" if result.skips else result.error for result in batch],
            item_ids=[result.lease.item_id for result in batch],
            sequences=[result.lease.sequence for result in batch],
        )
        if superseded:
            self.superseded += superseded
            _log.warning("results came after their lease had been taken over", results=superseded)
