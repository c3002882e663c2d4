"""The dispatcher: looks at what is due, and has it claimed and sent, in turns."""

import asyncio
import time
from collections.abc import Sequence
from uuid import UUID

from relay.board import Board
from relay.claim.alone import Alone
from relay.claim.claim import Claims, Unclaimable
from relay.claim.claimer import Claimer
from relay.claim.flights import Flights
from relay.claim.leases import Leases
from relay.claim.offers import Offers
from relay.claim.slots import Slots
from relay.claim.sweep import Sweep
from relay.identity import Identity
from relay.record.record import Recorder
from relay.rules.turns import MAX_LANES
from relay.send.target import Targets
from relay.send.tester import Tester
from relay.service import Service
from relay.transport import Transport
from relay.watch.outage import Outage
from service.platform.db import CONTENDED, Pool, is_passing


class Dispatcher(Service):
    """One relay's sending side. `offers` is the leader's way into it."""

    name = "dispatcher"

    def __init__(
        self,
        pool: Pool,
        board: Board,
        outage: Outage,
        identity: Identity,
        *,
        recorder: Recorder,
        targets: Targets,
        transport: Transport,
        concurrency: int,
        per_webhook: int,
        poll_seconds: float,
        grace_seconds: float,
    ) -> None:
        self._pool = pool
        self._board = board
        self._outage = outage
        self._recorder = recorder
        self._targets = targets
        self._grace = grace_seconds
        self._slots = Slots(concurrency, per_webhook, board)
        self.leases = Leases(pool, board, identity, recorder, self._slots)
        self._flights = Flights(board, self._slots, self.leases, recorder, transport)
        claims = Claims(pool, identity, targets)
        self._claimer = Claimer(pool, board, claims, self._slots, self.leases, self._flights)
        self._alone = Alone(pool, board, recorder, self._slots, self._claimer)
        self._sweep = Sweep(pool, board, self.leases, poll_seconds)
        self._tester = Tester(pool, board, identity, recorder, targets, transport)
        self.offers = Offers(
            board,
            outage,
            identity,
            recorder=recorder,
            slots=self._slots,
            leases=self.leases,
            alone=self._alone,
            targets=targets,
            flights=self._flights,
        )

    @property
    def in_flight(self) -> int:
        return self._slots.in_flight + self._tester.in_flight

    @property
    def delivered(self) -> int:
        return self._flights.delivered

    @property
    def attempted(self) -> int:
        return self._flights.attempted

    async def stop(self) -> None:
        """Claim no more, finish what is in flight within the grace period, and give back the leases
        of what was cut off then."""
        self.stop_claiming()
        await asyncio.wait([self.task])
        await self.finish(self._grace)
        await self.leases.give_back_cut_off()

    def stop_claiming(self) -> None:
        self._board.stopping = True
        self._board.claiming.set()

    async def finish(self, grace_seconds: float) -> None:
        """Wait for what is in flight, at most so long; then cut off what is not done."""
        await asyncio.gather(self._slots.finish(grace_seconds), self._tester.finish(grace_seconds))

    async def run(self) -> None:
        """Claim and send until told to stop. While the database is away, wait."""
        while not self._board.stopping:
            # Cleared before the look, never after: what comes during it is looked at next.
            self._board.claiming.clear()
            if self._outage.unwritable:
                # It was noticed while this slept.
                await self._outage.until_writable(time.monotonic())
                continue
            try:
                busy = await self._step()
            except Unclaimable:
                # What the failed claim may have leased is given back first, and then each lane is
                # claimed from by itself.
                continue
            except Exception as error:
                if not is_passing(error):
                    raise
                await self._recover(error)
                continue
            self._outage.over(self.name)
            if not busy and not self._outage.unwritable:
                await self._sleep()

    async def _recover(self, error: Exception) -> None:
        failed_at = time.monotonic()
        await self._outage.wait(self.name, error)
        if not isinstance(error, CONTENDED):
            # No claim is better than one more that is cut off, which leaves unconfirmed leases.
            await self._outage.until_writable(failed_at)
        self._board.sweep()

    async def _step(self) -> bool:
        """One look. True if there may be more to do at once."""
        if self.leases.has_unconfirmed:
            if self._slots.offered:
                self._slots.held_up = True
            else:
                self._board.agenda.add(await self.leases.give_back_unconfirmed())
        now = time.monotonic()
        self._board.agenda.advance(now)
        await self._look_at_all_lanes(now)
        if (alone := self._alone.next_look) is not None and alone <= now:
            await self._alone.send()
        if self._board.tests:
            self._board.tests = False
            await self._tester.claim()
        claimed = await self._claim()
        return (claimed and self._slots.roomy()) or self._sweep.under_way

    async def _look_at_all_lanes(self, now: float) -> None:
        """The next step of a sweep, if one is due."""
        if now >= self._sweep.next and not self._sweep.under_way:
            self._board.sweep()
        if self._sweep.wanted:
            self._sweep.begin()
            self._alone.look_again()
            self._claimer.forget_floors()
        if self._sweep.under_way:
            await self._sweep.step()

    async def _sleep(self) -> None:
        until = self._sweep.next
        for sooner in (self._board.agenda.next_due(), self._alone.next_look):
            if sooner is not None:
                until = min(until, sooner)
        try:
            async with asyncio.timeout(max(0.0, until - time.monotonic())):
                await self._board.claiming.wait()
        except TimeoutError:
            pass

    async def _claim(self) -> bool:
        slots, turns = self._slots, self._board.agenda.turns
        if self._recorder.full or (slots.free <= 0 < slots.pool.main_free):
            slots.held_up |= slots.promised > 0
            return False
        more = await self._place(turns.unplaced(MAX_LANES))
        slots.age()
        plan = turns.plan(slots.free, slots.pool, slots.room)
        found = bool(plan.lanes) and await self._claimer.claim(plan.lanes, plan.most, reserve=plan.reserve)
        if more or (plan.more and len(turns)):
            # Nothing else would make this relay look at these lanes at once.
            self._board.room()
        if not plan.lanes:
            slots.held_up |= slots.promised > 0
        # After a claim of so many lanes, there may be others that nothing else would make this
        # relay look at before the poll.
        return found or len(plan.lanes) == MAX_LANES

    async def _place(self, webhook_ids: Sequence[UUID]) -> bool:
        """Find out whose lanes these are, and where they lead. True if there are more to find out
        about."""
        turns, targets = self._board.agenda.turns, self._targets
        if unknown := [(webhook_id, 1) for webhook_id in webhook_ids if targets.place(webhook_id) is None]:
            async with self._pool.acquire() as connection:
                await targets.load(connection, unknown)
        turns.place(webhook_ids, targets.place)
        return len(webhook_ids) == MAX_LANES
