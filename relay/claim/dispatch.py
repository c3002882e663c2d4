"""The dispatcher: takes the lanes in turns, and has their due deliveries claimed and sent."""

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
    """The sending side of one relay. Through `offers`, the leader sends what its fan-out leased."""

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
        """Claims no more, finishes the requests in flight within the grace period, and gives back
        the leases of those that were cut off then."""
        self.stop_claiming()
        await asyncio.wait([self.task])
        await self.finish(self._grace)
        await self.leases.give_back_cut_off()

    def stop_claiming(self) -> None:
        self._board.stopping = True
        self._board.claiming.set()

    async def finish(self, grace_seconds: float) -> None:
        """Waits for the requests in flight, for at most `grace_seconds`. Then it cuts off the
        rest."""
        await asyncio.gather(self._slots.finish(grace_seconds), self._tester.finish(grace_seconds))

    async def run(self) -> None:
        """Claims and sends until the board says that the relay stops. Waits while the database is
        away."""
        while not self._board.stopping:
            # Clear it before the look, never after, so that the next look finds what comes during
            # this one.
            self._board.claiming.clear()
            if self._outage.unwritable:
                # The database went away while the dispatcher slept.
                await self._outage.until_writable(time.monotonic())
                continue
            try:
                busy = await self._step()
            except Unclaimable:
                # The next step gives back what the failed claim may have leased. After that, each
                # lane is claimed by itself.
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
            # Wait: another claim that is cut off would leave more unconfirmed leases.
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
        # If a claim took as many lanes as it may, there may be more lanes. Before the poll, nothing
        # else would make this relay look at them.
        return found or len(plan.lanes) == MAX_LANES

    async def _place(self, webhook_ids: Sequence[UUID]) -> bool:
        """Finds out the owners and the origins of these lanes. True if there are more lanes to find
        out about."""
        turns, targets = self._board.agenda.turns, self._targets
        if unknown := [(webhook_id, 1) for webhook_id in webhook_ids if targets.place(webhook_id) is None]:
            async with self._pool.acquire() as connection:
                await targets.load(connection, unknown)
        turns.place(webhook_ids, targets.place)
        return len(webhook_ids) == MAX_LANES
