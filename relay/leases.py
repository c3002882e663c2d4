"""Leases that end otherwise than by a result: given back, so that nobody waits until they run out, and nothing is held against
the delivery."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from uuid import UUID

from relay.record import Recorder
from relay.result import Lease
from service.platform.db import Pool
from service.platform.logs import get_logger
from service.platform.queries import load

_log = get_logger(__name__)
_SQL = load("leases")

# How far into a lane it is looked for leases that nobody knows of. They were the first that were due.
LOOK = 500


class Leases:
    """`sending` gives the fences of what is being sent. Whatever this relay holds and neither sends nor is about to record, it was
    granted and not told of: a statement that leases was not answered, and may have been done all the same."""

    def __init__(self, pool: Pool, recorder: Recorder, sending: Callable[[], list[int]]) -> None:
        self._pool = pool
        self._recorder = recorder
        self._sending = sending
        self._unconfirmed: set[UUID] = set()
        # Whether such a statement may have leased in any lane: all are looked at in the next sweep that begins at the first.
        self._unconfirmed_anywhere = False
        self._sweeping_all = False
        self._cut_off: list[Lease] = []
        self.looking = False
        # Told of lanes in which others may have room for what was given back.
        self.on_given_back: Callable[[Sequence[UUID]], Awaitable[None]] | None = None

    def unconfirmed_in(self, webhook_ids: Iterable[UUID]) -> None:
        """A claim in these lanes was not answered."""
        self._unconfirmed.update(webhook_ids)

    def unconfirmed_anywhere(self) -> None:
        """A fan-out was not answered."""
        self._unconfirmed_anywhere = True

    def swept(self, webhook_ids: Iterable[UUID], *, first: bool, last: bool) -> None:
        """A sweep has come past these lanes, which have something due."""
        if first and self._unconfirmed_anywhere:
            self._unconfirmed_anywhere, self._sweeping_all = False, True
        if self._sweeping_all:
            self._unconfirmed.update(webhook_ids)
            self._sweeping_all = not last

    def cut_off(self, lease: Lease) -> None:
        """It was being sent, and was not finished."""
        self._cut_off.append(lease)

    @property
    def has_unconfirmed(self) -> bool:
        return bool(self._unconfirmed)

    async def give_back_unconfirmed(self) -> set[UUID]:
        """The lanes that got something back. While nothing leases: what is leased meanwhile would be taken for unknown."""
        lanes = list(self._unconfirmed)
        self.looking = True
        try:
            rows = await _SQL.give_back_unconfirmed.fetch(
                self._pool,
                relay_id=self._recorder.relay_id,
                webhook_ids=lanes,
                held=self._sending() + self._recorder.fences(),
                most=LOOK,
            )
        finally:
            self.looking = False
        self._unconfirmed.difference_update(lanes)
        given_back = {row["webhook_id"] for row in rows}
        if rows:
            _log.info("gave back leases under which nothing was sent", leases=len(rows))
            if self.on_given_back is not None:
                await self.on_given_back(list(given_back))
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
