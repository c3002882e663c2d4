"""Claiming what is due, and sending it: hundreds of requests in flight, a slow webhook in its own lane only."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta
from operator import itemgetter
from random import Random
from uuid import UUID

from relay.breaker import Seen
from relay.envelope import envelope, shown_headers
from relay.lanes import NIL, Lanes
from relay.policy import MAX_LOST_LEASES, Decision, Outcome, decide, failure, is_success
from relay.record import Lease, Recorder, Result
from relay.retry_after import retry_after_ms
from relay.target import Target, Targets
from relay.transport import Transport
from service.platform.db import AWAY, CONTENDED, Pool
from service.platform.logs import get_logger
from service.platform.queries import load

_log = get_logger(__name__)
_SQL = load("claim")

# So many lanes are asked in one claim, and so many are looked at in one step of a sweep.
MAX_LANES = 200
# A claim takes at least this many of a lane, so that few lanes still make a batch.
LEAST_SHARE = 4
MAX_TESTS = 20
BACKOFF_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.0)
# While there is a backlog, slots that become free are filled together, half of them at once or as many as there are after so
# long: a claim costs the database about as much for one row as for twenty.
PACE_SECONDS = 0.003
# A lane with a backlog is looked at from where the last claim ended, and from its beginning again after so long.
FLOOR_SECONDS = 0.25
_lease_values = itemgetter(*Lease._fields)


class Dispatcher:
    """One relay's sending side."""

    def __init__(
        self,
        pool: Pool,
        recorder: Recorder,
        lanes: Lanes,
        targets: Targets,
        transport: Transport,
        *,
        concurrency: int,
        per_webhook: int,
        poll_seconds: float,
    ) -> None:
        self._pool = pool
        self._recorder = recorder
        self._targets = targets
        self._transport = transport
        self._concurrency = concurrency
        self._per_webhook = per_webhook
        self._poll = poll_seconds
        self._rng = Random()
        self._lanes = lanes
        self._wake = lanes.changed
        self._in_flight: dict[asyncio.Task[None], UUID] = {}
        self._per_lane: Counter[UUID] = Counter()
        self._sweep_from: UUID | None = NIL
        self._next_sweep = time.monotonic()
        self._tests_wanted = True
        self._pace: asyncio.TimerHandle | None = None
        self._floors: dict[UUID, datetime] = {}
        self._floors_from = time.monotonic()
        self._stopping = False
        self.delivered = 0
        self.attempted = 0

    @property
    def in_flight(self) -> int:
        return len(self._in_flight)

    def hint(self, webhook_ids: Iterable[UUID], *, tests: bool = False) -> None:
        """Something may be due for these."""
        self._tests_wanted |= tests
        self._lanes.heat(webhook_ids)

    def sweep_now(self) -> None:
        """Look at every lane: hints may have been missed, or a relay's leases have become void."""
        self._sweep_from = NIL
        self._tests_wanted = True
        self._floors.clear()
        self._wake.set()

    def stop_claiming(self) -> None:
        self._stopping = True
        self._wake.set()

    async def finish(self, grace_seconds: float) -> None:
        """Wait for what is in flight, at most so long; what is not done then is left to its lease."""
        if self._in_flight:
            await asyncio.wait(self._in_flight, timeout=grace_seconds)
        for task in list(self._in_flight):
            task.cancel()
        await asyncio.gather(*self._in_flight, return_exceptions=True)

    async def run(self) -> None:
        """Claim and send until told to stop. While the database is away it waits and goes on by itself."""
        failures = 0
        while not self._stopping:
            # Cleared before the look, never after: what comes during it is looked at next.
            self._wake.clear()
            try:
                busy = await self._step()
            except (*AWAY, *CONTENDED) as error:
                if failures == 0:
                    _log.warning("cannot claim", error=str(error) or type(error).__name__)
                await asyncio.sleep(BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS) - 1)])
                failures += 1
                self.sweep_now()
                continue
            if failures:
                _log.info("claiming again")
                failures = 0
            if not busy:
                await self._sleep()

    async def _step(self) -> bool:
        """One look. True if there may be more to do at once."""
        now = time.monotonic()
        self._lanes.ripen(now)
        if now >= self._next_sweep and self._sweep_from is None:
            self._sweep_from = NIL
        if self._sweep_from is not None:
            await self._sweep()
        if self._tests_wanted:
            self._tests_wanted = False
            await self._claim_tests()
        claimed = await self._claim()
        return (claimed and self._worth_a_claim()) or self._sweep_from is not None

    async def _sleep(self) -> None:
        until = self._next_sweep
        if (ripe := self._lanes.next_ripe()) is not None:
            until = min(until, ripe)
        try:
            async with asyncio.timeout(max(0.0, until - time.monotonic())):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _sweep(self) -> None:
        """One step over the lanes in id order: retries that other relays recorded, and leases that became void."""
        assert self._sweep_from is not None
        rows = await _SQL.sweep.fetch(self._pool, after=self._sweep_from, most=MAX_LANES, now=None)
        now = time.monotonic()
        for row in rows:
            if row["due_in"] <= 0:
                self._lanes.heat((row["webhook_id"],))
            elif row["due_in"] <= self._poll:
                self._lanes.heat_at(row["webhook_id"], now + row["due_in"])
        if len(rows) == MAX_LANES:
            self._sweep_from = rows[-1]["webhook_id"]
        else:
            self._sweep_from = None
            self._next_sweep = now + self._poll

    def _worth_a_claim(self, webhook_id: UUID | None = None) -> bool:
        """Whether half of the slots are free, so that what waits need not wait for more; `webhook_id`: of this lane's, too."""
        if self._concurrency - len(self._in_flight) < self._concurrency / 2:
            return False
        return webhook_id is None or self._per_lane[webhook_id] <= self._per_webhook / 2

    def _room(self, webhook_id: UUID) -> int:
        return self._per_webhook - self._per_lane[webhook_id]

    async def _claim(self) -> bool:
        free = self._concurrency - len(self._in_flight)
        if free <= 0 or self._recorder.full:
            return False
        lanes = self._lanes.take(MAX_LANES, self._room)
        if not lanes:
            return False
        share = max(LEAST_SHARE, -(-free // len(lanes)))
        shares = [min(share, room) for _, room in lanes]
        floors = self._take_floors([webhook_id for webhook_id, _ in lanes])
        try:
            async with self._pool.acquire() as connection:
                rows = await _SQL.claim.fetch(
                    connection,
                    relay_id=self._recorder.relay_id,
                    webhook_ids=[webhook_id for webhook_id, _ in lanes],
                    shares=shares,
                    floors=floors,
                    most=free,
                    now=None,
                )
                # The database's clock, as of its answer: a little late, and so never ahead of what it writes itself.
                claimed_at = time.monotonic()
                waits = {row["webhook_id"]: row["wait_seconds"] for row in rows if row["wait_seconds"] is not None}
                rows = [row for row in rows if row["position"] is not None]
                versions = {row["webhook_id"]: row["version"] for row in rows}
                targets = await self._targets.load(connection, versions.items())
        except BaseException:
            self._lanes.heat(webhook_id for webhook_id, _ in lanes)
            raise
        taken = Counter(row["webhook_id"] for row in rows)
        full = sum(taken.values()) >= free
        self._floors.update((row["webhook_id"], row["due_at"]) for row in rows)
        for (webhook_id, _), asked, floor in zip(lanes, shares, floors, strict=True):
            if webhook_id in waits:
                self._floors.pop(webhook_id, None)
            elif taken[webhook_id] >= asked or full:
                self._lanes.keep((webhook_id,))
            else:
                self._floors.pop(webhook_id, None)
                if floor is not None:
                    # That was its end, not yet all of it.
                    self._lanes.heat((webhook_id,))
        for webhook_id, seconds in waits.items():
            self._lanes.heat_at(webhook_id, claimed_at + seconds)
        for row in rows:
            lease = Lease(*_lease_values(row))
            self._start(lease, targets.get(lease.webhook_id), row["claimed_at"], claimed_at)
        return bool(rows) or full

    def _take_floors(self, webhook_ids: Iterable[UUID]) -> list[datetime | None]:
        if (now := time.monotonic()) - self._floors_from > FLOOR_SECONDS:
            self._floors.clear()
            self._floors_from = now
        return [self._floors.get(webhook_id) for webhook_id in webhook_ids]

    def _start(self, lease: Lease, target: Target | None, claimed_at: datetime, clock: float) -> None:
        self._per_lane[lease.webhook_id] += 1
        task = asyncio.create_task(self._deliver(lease, target, claimed_at, clock))
        self._in_flight[task] = lease.webhook_id
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        webhook_id = self._in_flight.pop(task)
        self._per_lane[webhook_id] -= 1
        if not self._per_lane[webhook_id]:
            del self._per_lane[webhook_id]
        if not task.cancelled() and (error := task.exception()) is not None:
            # A defect of ours. The lease runs out and the delivery is tried again; MAX_LOST_LEASES bounds that.
            _log.error("a delivery crashed", webhook_id=str(webhook_id), exc_info=error)
        if not len(self._lanes) or self._wake.is_set():
            return
        if self._worth_a_claim(webhook_id):
            self._wake.set()
        elif self._pace is None:
            self._pace = asyncio.get_running_loop().call_later(PACE_SECONDS, self._paced)

    def _paced(self) -> None:
        self._pace = None
        self._wake.set()

    async def _deliver(self, lease: Lease, target: Target | None, claimed_at: datetime, clock: float) -> None:
        if lease.lost_leases >= MAX_LOST_LEASES:
            self._end(lease, target, "failed", f"relay crashed: {lease.lost_leases} leases ended without a result")
            return
        if lease.data is None or lease.occurred_at is None:
            self._end(lease, target, "expired", "the event is no longer in the log")
            return
        if not lease.readable:
            self._end(lease, target, "cancelled", "its owner may no longer read it")
            return
        if target is None or target.broken is not None:
            self._end(
                lease, target, "failed", "cannot sign: " + (target.broken or "" if target else "the webhook is gone")
            )
            return
        started_at = claimed_at + timedelta(seconds=time.monotonic() - clock)
        sent = envelope(
            target,
            event_id=lease.event_id,
            event_type=lease.event_type,
            data=lease.data.encode(),
            occurred_at=lease.occurred_at,
            attempt=lease.attempts + 1,
            sequence=lease.sequence,
            timestamp=int(started_at.timestamp()),
            traceparent=lease.traceparent,
        )
        exchange = await self._transport.post(target.url, sent.headers, sent.body, target.timeout_ms)
        headers = exchange.headers if not is_success(exchange.status) else None
        decision = decide(
            exchange.status,
            attempt=lease.attempts + 1 - lease.attempts_before,
            max_retries=target.max_retries,
            first_delay_ms=target.retry_delay_ms,
            schedule=target.schedule,
            rng=self._rng,
            retry_after_ms=retry_after_ms(headers, started_at),
        )
        self.attempted += 1
        self.delivered += decision.outcome == "success"
        self._recorder.add(
            Result(
                lease,
                decision,
                failure(exchange.status, exchange.error),
                exchange,
                target.url,
                shown_headers(target, sent),
                started_at,
                target.on_failure,
            )
        )

    def _end(self, lease: Lease, target: Target | None, outcome: Outcome, why: str) -> None:
        on_failure = target.on_failure if target else None
        self._recorder.add(Result(lease, Decision(outcome), why, on_failure=on_failure))

    async def _claim_tests(self) -> None:
        """Tests are one attempt each, past the queue; the API waits for what is written here."""
        rows = await _SQL.claim_tests.fetch(self._pool, relay_id=self._recorder.relay_id, most=MAX_TESTS)
        for row in rows:
            task = asyncio.create_task(self._test(row["id"], row["webhook_id"], row["claimed_at"]))
            self._in_flight[task] = row["webhook_id"]
            self._per_lane[row["webhook_id"]] += 1
            task.add_done_callback(self._ended)
        if len(rows) == MAX_TESTS:
            self._tests_wanted = True
            self._wake.set()

    async def _test(self, test_id: UUID, webhook_id: UUID, now: datetime) -> None:
        async with self._pool.acquire() as connection:
            target = await self._targets.load_fresh(connection, webhook_id)
        status: int | None = None
        error: str | None = "the webhook is gone"
        if target is not None and target.broken is not None:
            error = "cannot sign: " + target.broken
        elif target is not None:
            data = b'{"message":"This is a test of your webhook","webhookId":"%s"}' % str(webhook_id).encode()
            sent = envelope(
                target,
                event_id=test_id,
                event_type="test",
                data=data,
                occurred_at=now,
                attempt=1,
                timestamp=int(now.timestamp()),
            )
            exchange = await self._transport.post(target.url, sent.headers, sent.body, target.timeout_ms)
            status, error = exchange.status, failure(exchange.status, exchange.error)
        await _SQL.finish_test.execute(
            self._pool, id=test_id, relay_id=self._recorder.relay_id, status=status, error=error
        )
        if is_success(status):
            # It passes the breaker, and closes it: the receiver is well.
            await self._recorder.observe(webhook_id, Seen(0, success=True))
