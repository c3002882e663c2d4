"""The sweep: looks at every lane once in each poll interval, for lanes that no hint has named."""

import time
from uuid import UUID

from relay.board import Board
from relay.claim.leases import Leases
from relay.rules.agenda import NIL
from service.platform.db import Pool
from service.platform.queries import load

_SQL = load("claim")

# One step looks at so many lanes.
LANES_A_STEP = 200


class Sweep:
    """Finds retries that other relays recorded, leases that became void, and unconfirmed leases."""

    def __init__(self, pool: Pool, board: Board, leases: Leases, poll_seconds: float) -> None:
        self._pool = pool
        self._board = board
        self._leases = leases
        self._poll = poll_seconds
        self._after: UUID | None = None
        # The number of the board's last sweep that has begun.
        self._begun = 0
        self.next = time.monotonic()

    @property
    def wanted(self) -> bool:
        """Whether a sweep was asked for that has not begun."""
        return self._begun != self._board.sweeps

    @property
    def under_way(self) -> bool:
        return self._after is not None or self.wanted

    def begin(self) -> None:
        """Begins at the first lane, even if a sweep is under way."""
        self._after = NIL
        self._begun = self._board.sweeps

    async def step(self) -> None:
        """Looks at the next lanes, in the order of their ids."""
        assert self._after is not None, "one is under way"
        first = self._after == NIL
        rows = await _SQL.sweep.fetch(self._pool, after=self._after, most=LANES_A_STEP, now=None)
        now = time.monotonic()
        for row in rows:
            if row["due_in"] <= 0:
                self._board.found_due((row["webhook_id"],))
            elif row["due_in"] <= self._poll:
                self._board.due_in(row["webhook_id"], row["due_in"])
        if self.wanted:
            # Another sweep was asked for meanwhile. Its reason may be something that this step ran
            # too early to see.
            return
        last = len(rows) < LANES_A_STEP
        self._leases.swept((row["webhook_id"] for row in rows), first=first, last=last)
        if last:
            self._after = None
            self.next = now + self._poll
        else:
            self._after = rows[-1]["webhook_id"]
