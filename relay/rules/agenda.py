"""Which webhooks to look at: the lanes that may have something due, kept in memory so that a claim
never searches for them."""

import heapq
import math
import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from uuid import UUID

from relay.rules.turns import Turns

NIL = UUID(int=0)
FLOOR_SECONDS = 0.25


class Agenda:
    """Lanes that may have something due, in their turns, and lanes that will have, by time. Times
    are monotonic seconds."""

    def __init__(self) -> None:
        self.turns = Turns()
        self._heap: list[tuple[float, UUID]] = []
        self._soonest: dict[UUID, float] = {}
        self._times: dict[UUID, set[float]] = {}
        # Lanes that came to their turn by time or by a sweep. No hint says what else is due in
        # them.
        self._timed: set[UUID] = set()

    def add(self, webhook_ids: Iterable[UUID]) -> None:
        """Something may be due there. A lane that is there keeps its turn."""
        self.turns.add(webhook_ids)

    def add_timed(self, webhook_ids: Iterable[UUID]) -> None:
        """Something is due there, and no hint said so."""
        for webhook_id in webhook_ids:
            self._timed.add(webhook_id)
            self.turns.add((webhook_id,))

    def due_in(self, webhook_id: UUID, seconds: float) -> bool:
        """A delivery will be due there, in so many seconds. True if that is sooner than anything
        else.

        Every such time is kept, as each is about another delivery. The lane is looked at up to 1/64
        of that time later, so that a lane with very many retries has no more than a few thousand
        times."""
        if seconds <= 0:
            self.add((webhook_id,))
            return True
        step = 2.0 ** math.floor(math.log2(max(seconds, 0.01))) / 64
        when = math.ceil((time.monotonic() + seconds) / step) * step
        times = self._times.setdefault(webhook_id, set())
        if when in times:
            return False
        times.add(when)
        return self._push(webhook_id, when)

    def look_at(self, webhook_id: UUID, when: float) -> bool:
        """Look at this lane again at that time. Only the soonest such time is kept, because each look
        says when to look next. True if the time is sooner than all others."""
        if when >= self._soonest.get(webhook_id, float("inf")):
            return False
        self._soonest[webhook_id] = when
        return self._push(webhook_id, when)

    def _push(self, webhook_id: UUID, when: float) -> bool:
        heapq.heappush(self._heap, (when, webhook_id))
        return self._heap[0] == (when, webhook_id)

    def advance(self, now: float) -> None:
        """Move the lanes whose time has come to their turns."""
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
                # A sooner time replaced it: the lane was moved to its turn then.
                continue
            self.turns.add((webhook_id,))
            self._timed.add(webhook_id)

    def take_timed(self, webhook_ids: Iterable[UUID]) -> list[UUID]:
        """Those of them that a timer has woken since this was asked last."""
        timed = [webhook_id for webhook_id in webhook_ids if webhook_id in self._timed]
        self._timed.difference_update(timed)
        return timed

    def next_due(self) -> float | None:
        """When a timer wakes the next lane; may be early, never late."""
        return self._heap[0][0] if self._heap else None


class Floors:
    """Where to begin to look in a lane with a backlog: where the last claim ended, and at its
    beginning again after a moment."""

    def __init__(self) -> None:
        self._floors: dict[UUID, datetime] = {}
        self._since = time.monotonic()

    def of(self, webhook_ids: Iterable[UUID]) -> list[datetime | None]:
        if (now := time.monotonic()) - self._since > FLOOR_SECONDS:
            self._floors.clear()
            self._since = now
        return [self._floors.get(webhook_id) for webhook_id in webhook_ids]

    def rise(self, due: Mapping[UUID, datetime]) -> None:
        self._floors.update(due)

    def drop(self, webhook_id: UUID) -> None:
        self._floors.pop(webhook_id, None)

    def clear(self) -> None:
        self._floors.clear()
