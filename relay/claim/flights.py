"""Deliveries in flight: each holds a slot and a lease until it has ended."""

from uuid import UUID

from relay.board import Board
from relay.claim.leases import Leases
from relay.claim.slots import Slots
from relay.record.record import Recorder
from relay.record.result import Lease, Moment
from relay.rules.shares import NOWHERE
from relay.send.delivery import Delivery, Outbound, Release
from relay.send.target import Target
from relay.transport import Transport


class Flights:
    """Starts deliveries that a claim or a fan-out has leased."""

    def __init__(self, board: Board, slots: Slots, leases: Leases, recorder: Recorder, transport: Transport) -> None:
        self._board = board
        self._slots = slots
        self._leases = leases
        self._outbound = Outbound(recorder, transport, self)

    @property
    def delivered(self) -> int:
        return self._outbound.delivered

    @property
    def attempted(self) -> int:
        return self._outbound.attempted

    def start(self, lease: Lease, target: Target | None, moment: Moment, *, reserve: bool) -> None:
        """`reserve`: the delivery takes a slot of the reserve."""
        if target is not None and not self._slots.admits(target.place, reserve=reserve):
            self._unused(lease.webhook_id)
            return
        delivery = Delivery(self._outbound, lease, target, moment)
        self._slots.hold(delivery, lease.webhook_id, lease.fence, target.place if target else NOWHERE, reserve=reserve)
        delivery.begin()

    def release(self, delivery: Delivery, how: Release) -> None:
        self._slots.release(delivery)
        if how == "cut off":
            self._leases.cut_off(delivery.lease)
        elif how == "unused":
            self._unused(delivery.lease.webhook_id)

    def _unused(self, webhook_id: UUID) -> None:
        """A lease under which nothing was sent. It is given back like an unconfirmed one."""
        self._leases.unconfirmed_in((webhook_id,))
        self._board.room()
