"""Leases that end without a result. They are given back, so that nobody waits until they run out,
and are not counted as lost."""

from collections.abc import Iterable
from uuid import UUID

from relay.board import Board
from relay.claim.slots import Slots
from relay.identity import Identity
from relay.record.record import Recorder
from relay.record.result import Lease
from service.platform.db import Pool
from service.platform.logs import get_logger
from service.platform.queries import load

_log = get_logger(__name__)
_SQL = load("leases")

# In a lane, unconfirmed leases are looked for among so many deliveries, the first that are due.
LOOK = 500


class Leases:
    """A statement that leases may commit although its reply is lost. Such leases are unconfirmed.
    This relay holds them in the database, but it does not send their deliveries, and has no results
    of them to record."""

    def __init__(self, pool: Pool, board: Board, identity: Identity, recorder: Recorder, slots: Slots) -> None:
        self._pool = pool
        self._board = board
        self._identity = identity
        self._recorder = recorder
        self._slots = slots
        self._unconfirmed: set[UUID] = set()
        # Set if any lane may have unconfirmed leases. The next sweep that begins at the first lane
        # finds them.
        self._unconfirmed_anywhere = False
        self._sweeping_all = False
        self._cut_off: list[Lease] = []
        # Set during the search for unconfirmed leases. Nothing may lease meanwhile: the search
        # would take the new leases for unconfirmed ones.
        self.looking = False

    def unconfirmed_in(self, webhook_ids: Iterable[UUID]) -> None:
        """The reply to a claim in these lanes was lost, or its leases cannot be used."""
        self._unconfirmed.update(webhook_ids)

    def unconfirmed_anywhere(self) -> None:
        """The reply to a fan-out was lost."""
        self._unconfirmed_anywhere = True

    def swept(self, webhook_ids: Iterable[UUID], *, first: bool, last: bool) -> None:
        """A sweep has passed these lanes, which have something due."""
        if first and self._unconfirmed_anywhere:
            self._unconfirmed_anywhere, self._sweeping_all = False, True
        if self._sweeping_all:
            self._unconfirmed.update(webhook_ids)
            self._sweeping_all = not last

    def cut_off(self, lease: Lease) -> None:
        """The delivery of this lease was being sent, and was not finished."""
        self._cut_off.append(lease)

    @property
    def has_unconfirmed(self) -> bool:
        return bool(self._unconfirmed)

    async def give_back_unconfirmed(self) -> set[UUID]:
        """Returns the lanes in which leases were given back."""
        lanes = list(self._unconfirmed)
        self.looking = True
        try:
            rows = await _SQL.give_back_unconfirmed.fetch(
                self._pool,
                relay_id=self._identity.relay_id,
                webhook_ids=lanes,
                held=self._slots.fences() + self._recorder.fences(),
                most=LOOK,
            )
        finally:
            self.looking = False
        self._unconfirmed.difference_update(lanes)
        given_back = {row["webhook_id"] for row in rows}
        if rows:
            _log.info("gave back leases under which nothing was sent", leases=len(rows))
            # Other relays may have room for these deliveries.
            self._board.hint_peers(list(given_back))
        return given_back

    async def give_back_cut_off(self) -> None:
        if self._cut_off:
            await _SQL.give_back.execute(
                self._pool,
                webhook_ids=[lease.webhook_id for lease in self._cut_off],
                positions=[lease.position for lease in self._cut_off],
                fences=[lease.fence for lease in self._cut_off],
            )
            self._cut_off.clear()
