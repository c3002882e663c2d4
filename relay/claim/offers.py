"""Slots that the leader offers to its own fan-out. Deliveries that fan-out leases need no claim."""

import asyncio
from collections.abc import Iterable, Sequence
from uuid import UUID

from relay.board import Board
from relay.claim.alone import Alone
from relay.claim.flights import Flights
from relay.claim.leases import Leases
from relay.claim.slots import NOTHING, Offer, Slots
from relay.identity import Identity
from relay.record.record import Recorder
from relay.record.result import Lease, Moment
from relay.send.target import Targets
from relay.watch.outage import Outage
from service.platform.queries import Executor

# After a fan-out with at most so many leases, its requests are written before the leader asks the
# database for more.
FEW = 8


class Offers:
    """From `offer` until `take` or `unconfirmed`, offered slots of the main part are kept free.
    Other requests may take offered slots of the reserve meanwhile."""

    def __init__(
        self,
        board: Board,
        outage: Outage,
        identity: Identity,
        *,
        recorder: Recorder,
        slots: Slots,
        leases: Leases,
        alone: Alone,
        targets: Targets,
        flights: Flights,
    ) -> None:
        self._board = board
        self._outage = outage
        self._identity = identity
        self._recorder = recorder
        self._slots = slots
        self._leases = leases
        self._alone = alone
        self._targets = targets
        self._flights = flights

    def offer(self) -> Offer:
        """Slots for the deliveries that fan-out is about to queue."""
        if self._board.stopping or self._recorder.full or self._outage.unwritable:
            return NOTHING
        if self._alone.sending or self._leases.looking:
            return NOTHING
        self._slots.age()
        return self._slots.offer(self._identity.relay_id, self._board.agenda.turns)

    async def take(
        self, connection: Executor, leases: Sequence[Lease], versions: Iterable[tuple[UUID, int]], moment: Moment
    ) -> None:
        """Starts to send what fan-out leased to this relay. Reads on `connection` where to send it.
        `versions`: the webhooks' ids and versions."""
        try:
            targets = await self._targets.load(connection, versions)
        except BaseException:
            self.unconfirmed()
            raise
        offer = self._slots.close()
        for lease in leases:
            self._flights.start(lease, targets.get(lease.webhook_id), moment, reserve=offer.reserve)
        waiting = len(self._board.agenda.turns) > 0
        held_up = self._slots.held_up or (offer.most > 0 and not offer.reserve and waiting)
        if held_up:
            # Slots that were offered and not filled are free for the lanes that wait.
            self._slots.held_up = False
            self._board.room()
        if held_up or self._leases.has_unconfirmed or len(leases) <= FEW:
            # Here the dispatcher gets a turn, and a few requests are written, before slots are
            # offered again. A leader that looks without a pause would otherwise offer them again at
            # once, again and again.
            await asyncio.sleep(0)

    def unconfirmed(self) -> None:
        """The reply to a fan-out was lost, or its leases cannot be used. Any lane may have such
        leases."""
        if self._slots.offered:
            self._slots.close()
            self._leases.unconfirmed_anywhere()
            self._board.sweep()

    def reconnected(self) -> None:
        """A fan-out on the previous LISTEN connection may have committed after the search for its
        leases. It has ended by now."""
        self._leases.unconfirmed_anywhere()
