"""Claiming what is due, and sending it: hundreds of requests in flight, a slow webhook in its own lane only."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from operator import itemgetter
from uuid import UUID

from relay.alone import Alone
from relay.lanes import NIL, Floors, Lanes
from relay.leases import Leases
from relay.outage import Outage
from relay.record import Lease, Recorder
from relay.send import Sender
from relay.target import Target, Targets
from relay.tester import Tester
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
# While there is a backlog, slots that become free are filled together, half of them at once or as many as there are after so
# long: a claim costs the database about as much for one row as for twenty.
PACE_SECONDS = 0.003
_lease_values = itemgetter(*Lease._fields)


class Dispatcher:
    """One relay's sending side."""

    def __init__(
        self,
        pool: Pool,
        outage: Outage,
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
        self._outage = outage
        self._in_flight: dict[asyncio.Task[None], UUID] = {}
        self.leases = Leases(pool, recorder)
        self._tester = Tester(pool, recorder, targets, transport)
        self._alone = Alone(
            pool,
            recorder,
            in_flight=self._in_flight,
            take=lambda lanes: self._take([(lane, 1) for lane in lanes], 1, suspects=True),
            stopping=lambda: self._stopping,
        )
        self._recorder = recorder
        self._targets = targets
        self._sender = Sender(recorder, transport)
        self._concurrency = concurrency
        self._per_webhook = per_webhook
        self._poll = poll_seconds
        self._lanes = lanes
        self._wake = lanes.changed
        self._per_lane: Counter[UUID] = Counter()
        self._sweep_from: UUID | None = NIL
        self._next_sweep = time.monotonic()
        self._tests_wanted = True
        self._pace: asyncio.TimerHandle | None = None
        self._floors = Floors()
        self._stopping = False

    @property
    def in_flight(self) -> int:
        return len(self._in_flight)

    @property
    def delivered(self) -> int:
        return self._sender.delivered

    @property
    def attempted(self) -> int:
        return self._sender.attempted

    def hint(self, webhook_ids: Iterable[UUID], *, tests: bool = False) -> None:
        """Something may be due for these."""
        self._tests_wanted |= tests
        self._lanes.heat(webhook_ids)

    def sweep_now(self) -> None:
        """Look at every lane: hints may have been missed, or a relay's leases have become void."""
        self._sweep_from = NIL
        self._alone.look_again()
        self._tests_wanted = True
        self._floors.clear()
        self._wake.set()

    def stop_claiming(self) -> None:
        self._stopping = True
        self._wake.set()

    async def finish(self, grace_seconds: float) -> None:
        """Wait for what is in flight, at most so long; what is not done then is cut off."""
        if self._in_flight:
            await asyncio.wait(self._in_flight, timeout=grace_seconds)
        for task in list(self._in_flight):
            task.cancel()
        await asyncio.gather(*self._in_flight, return_exceptions=True)

    async def run(self) -> None:
        """Claim and send until told to stop. While the database is away it waits and goes on by itself."""
        while not self._stopping:
            # Cleared before the look, never after: what comes during it is looked at next.
            self._wake.clear()
            try:
                busy = await self._step()
            except (*AWAY, *CONTENDED) as error:
                failed_at = time.monotonic()
                await self._outage.wait("dispatcher", error)
                if not isinstance(error, CONTENDED):
                    # Rather no claim than one more that is cut off: it leaves leases that nobody knows of.
                    await self._outage.until_writable(failed_at, lambda: self._stopping)
                self.sweep_now()
                continue
            self._outage.over("dispatcher")
            if self._outage.unwritable:
                await self._outage.until_writable(time.monotonic(), lambda: self._stopping)
            elif not busy:
                await self._sleep()

    async def _step(self) -> bool:
        """One look. True if there may be more to do at once."""
        await self.leases.give_back_unknown()
        now = time.monotonic()
        self._lanes.ripen(now)
        if now >= self._next_sweep and self._sweep_from is None:
            self._sweep_from = NIL
            self._alone.look_again()
        if self._sweep_from is not None:
            await self._sweep()
        if (alone := self._alone.next_look) is not None and alone <= now:
            await self._alone.send()
        if self._tests_wanted:
            self._tests_wanted = False
            await self._claim_tests()
        claimed = await self._claim()
        return (claimed and self._worth_a_claim()) or self._sweep_from is not None

    async def _sleep(self) -> None:
        until = self._next_sweep
        for sooner in (self._lanes.next_ripe(), self._alone.next_look):
            if sooner is not None:
                until = min(until, sooner)
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
        found = await self._take([(webhook_id, min(share, room)) for webhook_id, room in lanes], free)
        # So many, and there may be lanes behind them that nothing else would make this relay look at before the poll.
        return found or len(lanes) == MAX_LANES

    async def _take(self, lanes: Sequence[tuple[UUID, int]], free: int, *, suspects: bool = False) -> bool:
        """Claim at most so many of each lane, and `free` in all, and start to send them."""
        if suspects:
            # They are older than what a lane's floor has come to.
            self._floors.clear()
        floors = self._floors.of(webhook_id for webhook_id, _ in lanes)
        try:
            async with self._pool.acquire() as connection:
                rows = await _SQL.claim.fetch(
                    connection,
                    relay_id=self._recorder.relay_id,
                    webhook_ids=[webhook_id for webhook_id, _ in lanes],
                    shares=[share for _, share in lanes],
                    floors=floors,
                    most=free,
                    suspects=suspects,
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
            self.leases.unsure_of(webhook_id for webhook_id, _ in lanes)
            raise
        self.leases.told_of(row["fence"] for row in rows)
        taken = Counter(row["webhook_id"] for row in rows)
        full = sum(taken.values()) >= free
        self._floors.rise((row["webhook_id"], row["due_at"]) for row in rows)
        for (webhook_id, asked), floor in zip(lanes, floors, strict=True):
            if webhook_id in waits:
                self._floors.drop(webhook_id)
            elif taken[webhook_id] >= asked or full:
                self._lanes.keep((webhook_id,))
            else:
                self._floors.drop(webhook_id)
                if floor is not None:
                    # That was its end, not yet all of it.
                    self._lanes.heat((webhook_id,))
        for webhook_id, seconds in waits.items():
            self._lanes.heat_at(webhook_id, claimed_at + seconds)
        for row in rows:
            lease = Lease(*_lease_values(row))
            self._start(lease, targets.get(lease.webhook_id), row["claimed_at"], claimed_at)
        return bool(rows) or full

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
        try:
            await self._sender.send(lease, target, claimed_at, clock)
        except asyncio.CancelledError:
            self.leases.cut_off(lease)
            raise

    async def _claim_tests(self) -> None:
        """Tests are one attempt each, past the queue; the API waits for what is written here."""
        rows = await _SQL.claim_tests.fetch(self._pool, relay_id=self._recorder.relay_id, most=MAX_TESTS)
        for row in rows:
            task = asyncio.create_task(self._tester.send(row["id"], row["webhook_id"], row["claimed_at"]))
            self._in_flight[task] = row["webhook_id"]
            self._per_lane[row["webhook_id"]] += 1
            task.add_done_callback(self._ended)
        if len(rows) == MAX_TESTS:
            self._tests_wanted = True
            self._wake.set()
