"""The sweep: every lane is looked at once in a while, for what no hint told of."""

import time
from uuid import UUID

from relay.agenda import NIL, Agenda
from relay.leases import Leases
from service.platform.db import Pool
from service.platform.queries import load

_SQL = load("claim")

# So many lanes are looked at in one step.
LANES_A_STEP = 200


class Sweep:
    """Retries that other relays recorded, leases that became void, and leases that this relay was not told of."""

    def __init__(self, pool: Pool, agenda: Agenda, leases: Leases, poll_seconds: float) -> None:
        self._pool = pool
        self._agenda = agenda
        self._leases = leases
        self._poll = poll_seconds
        self._after: UUID | None = NIL
        # How often one has begun, so that a step knows whether it still belongs to the one under way.
        self._begun = 0
        self.next = time.monotonic()

    @property
    def under_way(self) -> bool:
        return self._after is not None

    def begin(self) -> None:
        """From the first lane on, whether or not one is under way."""
        self._after = NIL
        self._begun += 1

    async def step(self) -> None:
        """Over the next lanes in id order."""
        assert self._after is not None, "one is under way"
        first, begun = self._after == NIL, self._begun
        rows = await _SQL.sweep.fetch(self._pool, after=self._after, most=LANES_A_STEP, now=None)
        now = time.monotonic()
        for row in rows:
            if row["due_in"] <= 0:
                self._agenda.found_due((row["webhook_id"],))
            elif row["due_in"] <= self._poll:
                self._agenda.due_in(row["webhook_id"], row["due_in"])
        if begun != self._begun:
            # Another has begun meanwhile, for something that this step may not have seen yet.
            return
        last = len(rows) < LANES_A_STEP
        self._leases.swept((row["webhook_id"] for row in rows), first=first, last=last)
        if last:
            self._after = None
            self.next = now + self._poll
        else:
            self._after = rows[-1]["webhook_id"]
