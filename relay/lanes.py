"""Which webhooks to look at: the lanes that may have something due, kept in memory so that a claim never searches for them."""

import asyncio
import heapq
import math
import time
from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from relay.turns import Turns

NIL = UUID(int=0)
FLOOR_SECONDS = 0.25


class Lanes:
    """Lanes that are hot (something may be due now) in their turns, and lanes that will be, by time. Times are monotonic seconds.

    `changed` is set by whatever may be a reason to look sooner than was planned.
    """

    def __init__(self) -> None:
        self.changed = asyncio.Event()
        self.hot = Turns()
        self._heap: list[tuple[float, UUID]] = []
        self._soonest: dict[UUID, float] = {}
        self._times: dict[UUID, set[float]] = {}
        # Those that time has heated: of what is due there later nobody has told.
        self._ripe: set[UUID] = set()

    def heat(self, webhook_ids: Iterable[UUID]) -> None:
        """Something may be due there. A lane that is hot keeps its turn."""
        self.keep(webhook_ids)
        self.changed.set()

    def keep(self, webhook_ids: Iterable[UUID]) -> None:
        """They are still hot, which is no reason to look sooner."""
        self.hot.add(webhook_ids)

    def ripe(self, webhook_ids: Iterable[UUID]) -> None:
        """Something is due there, and time alone has told."""
        for webhook_id in webhook_ids:
            self._ripe.add(webhook_id)
            self.hot.add((webhook_id,))
        self.changed.set()

    def heat_in(self, webhook_id: UUID, seconds: float) -> None:
        """A delivery will be due there, in so long; every such time is kept, as each is about another one. It is looked at up to
        1/64 of that later, so that a lane with very many retries has no more than a few thousand times."""
        if seconds <= 0:
            self.heat((webhook_id,))
            return
        step = 2.0 ** math.floor(math.log2(max(seconds, 0.01))) / 64
        when = math.ceil((time.monotonic() + seconds) / step) * step
        times = self._times.setdefault(webhook_id, set())
        if when not in times:
            times.add(when)
            self._push(webhook_id, when)

    def heat_at(self, webhook_id: UUID, when: float) -> None:
        """Look there again. Only the soonest time is kept: whoever looks says when to look next."""
        if when < self._soonest.get(webhook_id, float("inf")):
            self._soonest[webhook_id] = when
            self._push(webhook_id, when)

    def _push(self, webhook_id: UUID, when: float) -> None:
        heapq.heappush(self._heap, (when, webhook_id))
        if self._heap[0] == (when, webhook_id):
            self.changed.set()

    def ripen(self, now: float) -> None:
        """Heat the lanes whose time has come."""
        while self._heap and self._heap[0][0] <= now:
            when, webhook_id = heapq.heappop(self._heap)
            due = when in self._times.get(webhook_id, ())
            if due:
                self._times[webhook_id].discard(when)
                if not self._times[webhook_id]:
                    del self._times[webhook_id]
            if self._soonest.get(webhook_id) == when:
                del self._soonest[webhook_id]
            elif not due:
                # A sooner time replaced it: the lane was heated then.
                continue
            self.hot.add((webhook_id,))
            self._ripe.add(webhook_id)

    def ripened(self, webhook_ids: Iterable[UUID]) -> list[UUID]:
        """Those of them that time has heated since this was asked last."""
        ripe = [webhook_id for webhook_id in webhook_ids if webhook_id in self._ripe]
        self._ripe.difference_update(ripe)
        return ripe

    def next_ripe(self) -> float | None:
        """When the next lane becomes hot by itself; may be early, never late."""
        return self._heap[0][0] if self._heap else None


class Floors:
    """Where to begin to look in a lane with a backlog: where the last claim ended, and at its beginning again after a moment."""

    def __init__(self) -> None:
        self._floors: dict[UUID, datetime] = {}
        self._since = time.monotonic()

    def of(self, webhook_ids: Iterable[UUID]) -> list[datetime | None]:
        if (now := time.monotonic()) - self._since > FLOOR_SECONDS:
            self._floors.clear()
            self._since = now
        return [self._floors.get(webhook_id) for webhook_id in webhook_ids]

    def rise(self, due: Iterable[tuple[UUID, datetime]]) -> None:
        self._floors.update(due)

    def drop(self, webhook_id: UUID) -> None:
        self._floors.pop(webhook_id, None)

    def clear(self) -> None:
        self._floors.clear()
