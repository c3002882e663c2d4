"""Leases that end otherwise than by a result: given back, so that nobody waits until they run out, and nothing is held against
the delivery."""

from collections.abc import Iterable
from uuid import UUID

from relay.record import Lease, Recorder
from service.platform.db import Pool
from service.platform.logs import get_logger
from service.platform.queries import load

_log = get_logger(__name__)
_SQL = load("leases")

# How far into a lane it is looked for leases that nobody knows of. They were the first that were due.
LOOK = 500


class Leases:
    def __init__(self, pool: Pool, recorder: Recorder) -> None:
        self._pool = pool
        self._recorder = recorder
        self._told = 0
        self._unsure: set[UUID] = set()
        self._cut_off: list[Lease] = []

    def told_of(self, fences: Iterable[int]) -> None:
        """A claim has been answered with these. Fences rise, and a relay has one claim under way: whatever it holds with a higher
        one, it was not told of."""
        self._told = max(self._told, *fences, 0)

    def unsure_of(self, webhook_ids: Iterable[UUID]) -> None:
        """A claim in these lanes was not answered. It may have been done all the same."""
        self._unsure.update(webhook_ids)

    def cut_off(self, lease: Lease) -> None:
        """It was being sent, and was not finished."""
        self._cut_off.append(lease)

    async def give_back_unknown(self) -> None:
        if not self._unsure:
            return
        rows = await _SQL.give_back_unknown.fetch(
            self._pool, relay_id=self._recorder.relay_id, webhook_ids=list(self._unsure), told=self._told, most=LOOK
        )
        self._unsure.clear()
        if rows:
            _log.info("gave back leases of a claim that was not answered", leases=len(rows))

    async def give_back_cut_off(self) -> None:
        if self._cut_off:
            await _SQL.give_back.execute(
                self._pool,
                webhook_ids=[lease.webhook_id for lease in self._cut_off],
                positions=[lease.position for lease in self._cut_off],
                fences=[lease.fence for lease in self._cut_off],
            )
            self._cut_off.clear()
