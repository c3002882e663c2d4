"""Claiming what is due, and sending it: hundreds of requests in flight, a slow webhook in its own lane only."""

import asyncio
import time
from collections.abc import Iterable, Sequence
from uuid import UUID

from relay.agenda import Agenda, Floors
from relay.alone import Alone
from relay.batch import Batch
from relay.claim import Claims, Unclaimable
from relay.leases import Leases
from relay.outage import Outage
from relay.record import Recorder
from relay.result import Lease, Moment
from relay.send import Delivery, End, Sender
from relay.shares import NOWHERE
from relay.slots import NOTHING, Offer, Slots
from relay.sweep import Sweep
from relay.target import Target, Targets
from relay.tester import Tester
from relay.transport import Transport
from relay.turns import MAX_LANES
from service.platform.db import CONTENDED, Pool, is_passing
from service.platform.logs import get_logger
from service.platform.queries import Executor, load

_log = get_logger(__name__)
_SQL = load("claim")

# At most so many requests are written before the leader asks the database for anything more.
FEW = 8
# While there is a backlog, slots that become free are filled together, half of them at once or as many as there are after so
# long: a claim costs the database about as much for one row as for twenty.
PACE_SECONDS = 0.003
_FIELDS = len(Lease._fields)


class Dispatcher:
    """One relay's sending side."""

    def __init__(
        self,
        pool: Pool,
        outage: Outage,
        recorder: Recorder,
        agenda: Agenda,
        targets: Targets,
        transport: Transport,
        *,
        concurrency: int,
        per_webhook: int,
        poll_seconds: float,
    ) -> None:
        self._pool = pool
        self._outage = outage
        self._slots = Slots(concurrency, per_webhook, on_free=self._freed, on_crash=self._crashed)
        self.leases = Leases(pool, recorder, self._slots.fences)
        self._tester = Tester(
            pool, recorder, targets, transport, on_free=lambda _: self._tested(), on_crash=self._crashed
        )
        self._alone = Alone(
            pool,
            recorder,
            self._slots,
            take=lambda lanes: self._take([(lane, 1) for lane in lanes], 1, suspects=True),
            stopping=lambda: self._stopping,
        )
        self._claims = Claims()
        self._recorder = recorder
        self._targets = targets
        self._sender = Sender(recorder, transport)
        self._agenda = agenda
        self._wake = agenda.changed
        self._sweep = Sweep(pool, agenda, self.leases, poll_seconds)
        self._tests_wanted = True
        self._pace: asyncio.TimerHandle | None = None
        self._floors = Floors()
        # Whether something could not be done while fan-out had been offered slots.
        self._hindered = False
        self._stopping = False

    @property
    def in_flight(self) -> int:
        return self._slots.in_flight + self._tester.in_flight

    @property
    def delivered(self) -> int:
        return self._sender.delivered

    @property
    def attempted(self) -> int:
        return self._sender.attempted

    def hint(self, webhook_ids: Iterable[UUID], *, tests: bool = False) -> None:
        """Something may be due for these."""
        self._tests_wanted |= tests
        self._agenda.hint(webhook_ids)

    def sweep_now(self) -> None:
        """Look at every lane: hints may have been missed, or a relay's leases have become void."""
        self._sweep.begin()
        self._alone.look_again()
        self._tests_wanted = True
        self._floors.clear()
        self._wake.set()

    def offer(self) -> Offer:
        """Slots for what fan-out is about to queue, kept free until `take` or `unconfirmed`."""
        relay_id = self._recorder.relay_id
        hindered = self._stopping or self._recorder.full or self._outage.unwritable
        if hindered or self._alone.sending or self.leases.looking or relay_id is None:
            return NOTHING
        self._slots.age()
        return self._slots.offer(relay_id, self._agenda.turns)

    async def take(self, connection: Executor, batch: Batch) -> None:
        """Start to send what fan-out leased to this relay; `connection` is free to be asked where to."""
        try:
            targets = await self._targets.load(connection, batch.versions)
        except BaseException:
            self.unconfirmed()
            raise
        offer = self._slots.close()
        for lease in batch.leases:
            self._start(lease, targets.get(lease.webhook_id), batch.moment, reserve=offer.reserve)
        hindered = self._hindered or (offer.most > 0 and not offer.reserve and len(self._agenda.turns) > 0)
        if hindered:
            # What was offered and not filled is free for them.
            self._hindered = False
            self._wake.set()
        if hindered or self.leases.has_unconfirmed or len(batch.leases) <= FEW:
            # Who was hindered has a turn, and a few are on their way, before slots are offered again: that may be at once, and on
            # and on.
            await asyncio.sleep(0)

    def unconfirmed(self) -> None:
        """A fan-out was not answered, or its leases cannot be used. It may have leased in any lane."""
        if self._slots.offered:
            self._slots.close()
            self.leases.unconfirmed_anywhere()
            self.sweep_now()

    def reconnected(self) -> None:
        """A fan-out may have been committed after it was looked for what an unanswered one had leased."""
        self.leases.unconfirmed_anywhere()

    def stop_claiming(self) -> None:
        self._stopping = True
        self._wake.set()

    async def finish(self, grace_seconds: float) -> None:
        """Wait for what is in flight, at most so long; what is not done then is cut off."""
        await asyncio.gather(self._slots.finish(grace_seconds), self._tester.finish(grace_seconds))

    async def run(self) -> None:
        """Claim and send until told to stop. While the database is away it waits and goes on by itself."""
        while not self._stopping:
            # Cleared before the look, never after: what comes during it is looked at next.
            self._wake.clear()
            if self._outage.unwritable:
                # It was noticed while this slept.
                await self._outage.until_writable(time.monotonic(), lambda: self._stopping)
                continue
            try:
                busy = await self._step()
            except Unclaimable:
                # What it may have leased is given back first, and then each lane is claimed from by itself.
                continue
            except Exception as error:
                if not is_passing(error):
                    raise
                failed_at = time.monotonic()
                await self._outage.wait("dispatcher", error)
                if not isinstance(error, CONTENDED):
                    # Rather no claim than one more that is cut off: it leaves leases that nobody knows of.
                    await self._outage.until_writable(failed_at, lambda: self._stopping)
                self.sweep_now()
                continue
            self._outage.over("dispatcher")
            if not busy and not self._outage.unwritable:
                await self._sleep()

    async def _step(self) -> bool:
        """One look. True if there may be more to do at once."""
        if self.leases.has_unconfirmed:
            if self._slots.offered:
                self._hindered = True
            else:
                self._agenda.keep(await self.leases.give_back_unconfirmed())
        now = time.monotonic()
        self._agenda.advance(now)
        if now >= self._sweep.next and not self._sweep.under_way:
            self._sweep.begin()
            self._alone.look_again()
            self._tests_wanted = True
        if self._sweep.under_way:
            await self._sweep.step()
        if (alone := self._alone.next_look) is not None and alone <= now:
            await self._alone.send()
        if self._tests_wanted:
            self._tests_wanted = False
            await self._tester.claim()
        claimed = await self._claim()
        return (claimed and self._slots.roomy()) or self._sweep.under_way

    async def _sleep(self) -> None:
        until = self._sweep.next
        for sooner in (self._agenda.next_due(), self._alone.next_look):
            if sooner is not None:
                until = min(until, sooner)
        try:
            async with asyncio.timeout(max(0.0, until - time.monotonic())):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _claim(self) -> bool:
        slots, hot = self._slots, self._agenda.turns
        if self._recorder.full or (slots.free <= 0 < slots.pool.main_free):
            self._hindered |= slots.promised > 0
            return False
        more = await self._place(hot.unplaced(MAX_LANES))
        slots.age()
        plan = hot.plan(slots.free, slots.pool, slots.room)
        found = bool(plan.lanes) and await self._take(plan.lanes, plan.most, reserve=plan.reserve)
        if more or (plan.more and len(hot)):
            # For which nothing else would make this relay look at once.
            self._wake.set()
        if not plan.lanes:
            self._hindered |= slots.promised > 0
        # So many, and there may be lanes behind them that nothing else would make this relay look at before the poll.
        return found or len(plan.lanes) == MAX_LANES

    async def _place(self, webhook_ids: Sequence[UUID]) -> bool:
        """Find out whose lanes these are, and where they lead. True if there are more to find out about."""
        hot, targets = self._agenda.turns, self._targets
        if unknown := [(webhook_id, 1) for webhook_id in webhook_ids if targets.place(webhook_id) is None]:
            async with self._pool.acquire() as connection:
                await targets.load(connection, unknown)
        hot.place(webhook_ids, targets.place)
        return len(webhook_ids) == MAX_LANES

    async def _take(
        self, lanes: Sequence[tuple[UUID, int]], free: int, *, reserve: bool = False, suspects: bool = False
    ) -> bool:
        """Claim at most so many of each lane, and `free` in all, and start to send them. `reserve`: for slots of the reserve."""
        if suspects:
            # They are older than what a lane's floor has come to.
            self._floors.clear()
        floors = self._floors.of(webhook_id for webhook_id, _ in lanes)
        asked_at = time.monotonic()
        try:
            with self._slots.claiming(lanes, free, reserve=reserve):
                async with self._pool.acquire() as connection:
                    rows = await self._claims.fetch(
                        connection, self._recorder.relay_id, lanes, floors, most=free, suspects=suspects
                    )
                    answered_at = time.monotonic()
                    waits = {row["webhook_id"]: row["wait_seconds"] for row in rows if row["wait_seconds"] is not None}
                    rows = [row for row in rows if row["position"] is not None]
                    versions = {row["webhook_id"]: row["version"] for row in rows}
                    targets = await self._targets.load(connection, versions.items())
        except BaseException:
            self._agenda.hint(webhook_id for webhook_id, _ in lanes)
            self.leases.unconfirmed_in(webhook_id for webhook_id, _ in lanes)
            raise
        taken: dict[UUID, int] = {}
        for row in rows:
            taken[row["webhook_id"]] = taken.get(row["webhook_id"], 0) + 1
        full = len(rows) >= free
        self._floors.rise((row["webhook_id"], row["due_at"]) for row in rows)
        # Those that got nothing are the first to be asked again.
        nothing, more, short = list[UUID](), list[UUID](), list[UUID]()
        for (webhook_id, asked), floor in zip(lanes, floors, strict=True):
            got = taken.get(webhook_id, 0)
            if webhook_id not in waits:
                if full or got >= asked:
                    (more if got else nothing).append(webhook_id)
                    continue
                short.append(webhook_id)
                if floor is not None:
                    # That was its end, not yet all of it.
                    (more if got else nothing).append(webhook_id)
                    self._wake.set()
            self._floors.drop(webhook_id)
        self._agenda.keep(nothing)
        self._agenda.keep(more)
        for webhook_id, seconds in waits.items():
            self._agenda.look_at(webhook_id, answered_at + seconds)
        if rows:
            moment = Moment(rows[0]["claimed_at"], answered_at, asked_at)
            for row in rows:
                lease = Lease._make(row[:_FIELDS])
                self._start(lease, targets.get(lease.webhook_id), moment, reserve=reserve)
        if ripe := self._agenda.take_timed(short):
            # Whoever said when to look knew of one time only, or the server's clock was another one then. What has become due since
            # the claim is not to be missed.
            ago = time.monotonic() - asked_at
            for row in await _SQL.soonest.fetch(self._pool, webhook_ids=ripe, ago=ago, now=None):
                if row["due_in"] > 0:
                    self._agenda.due_in(row["webhook_id"], row["due_in"])
                else:
                    self._agenda.found_due((row["webhook_id"],))
        return bool(rows) or full

    def _start(self, lease: Lease, target: Target | None, moment: Moment, *, reserve: bool) -> None:
        if target is not None and not self._slots.admits(target.place, reserve=reserve):
            self._unused(lease)
            return
        delivery = Delivery(self._sender, lease, target, moment, self._ended)
        self._slots.hold(delivery, lease.webhook_id, lease.fence, target.place if target else NOWHERE, reserve=reserve)
        delivery.begin()

    def _unused(self, lease: Lease) -> None:
        """To be given back like one that this relay was not told of: nothing was sent under it."""
        self.leases.unconfirmed_in((lease.webhook_id,))
        self._wake.set()

    def _ended(self, delivery: Delivery, end: End) -> None:
        lease = delivery.lease
        if self._slots.release(delivery):
            self._agenda.turns.changed(lease.webhook_id)
        if end == "cut off":
            self.leases.cut_off(lease)
        elif end == "unused":
            self._unused(lease)

    def _crashed(self, webhook_id: UUID, error: BaseException) -> None:
        _log.error("a request crashed", webhook_id=str(webhook_id), exc_info=error)

    def _freed(self, webhook_id: UUID) -> None:
        if not len(self._agenda.turns) or self._wake.is_set():
            return
        if self._slots.roomy(webhook_id):
            self._wake.set()
        elif self._pace is None:
            self._pace = asyncio.get_running_loop().call_later(PACE_SECONDS, self._paced)

    def _paced(self) -> None:
        self._pace = None
        self._wake.set()

    def _tested(self) -> None:
        """Others may have waited for that."""
        self._tests_wanted = True
        self._wake.set()
