"""The agenda: the lanes that may have something due. It is kept in memory, so that a claim never
has to search for them."""

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
    """Two lists of lanes. Those in `turns` may have something due now. The others will have
    something due at a time, in monotonic seconds, and are ordered by it."""

    def __init__(self) -> None:
        self.turns = Turns()
        self._heap: list[tuple[float, UUID]] = []
        self._soonest: dict[UUID, float] = {}
        self._times: dict[UUID, set[float]] = {}
        # Lanes that came to their turn by a timer or by a sweep. No hint says what else is due in
        # them.
        self._timed: set[UUID] = set()

    def add(self, webhook_ids: Iterable[UUID]) -> None:
        """Something may be due in these lanes. A lane that is in `turns` already keeps its turn."""
        self.turns.add(webhook_ids)

    def add_timed(self, webhook_ids: Iterable[UUID]) -> None:
        """Something is due in these lanes, and no hint said so."""
        for webhook_id in webhook_ids:
            self._timed.add(webhook_id)
            self.turns.add((webhook_id,))

    def due_in(self, webhook_id: UUID, seconds: float) -> bool:
        """A delivery of this lane will be due in so many seconds. True if that is sooner than
        anything else.

        Every such time is kept, because each belongs to another delivery. The lane is looked at up
        to 1/64 of that time later. So a lane with very many retries has no more than a few thousand
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
        """Look at this lane again at `when`. Only the soonest such time is kept, because each look
        says when to look next. True if the time is sooner than all others."""
        if when >= self._soonest.get(webhook_id, float("inf")):
            return False
        self._soonest[webhook_id] = when
        return self._push(webhook_id, when)

    def _push(self, webhook_id: UUID, when: float) -> bool:
        heapq.heappush(self._heap, (when, webhook_id))
        return self._heap[0] == (when, webhook_id)

    def advance(self, now: float) -> None:
        """Moves the lanes whose time has come to their turns."""
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
                # A sooner time had replaced this one. The lane got its turn then.
                continue
            self.turns.add((webhook_id,))
            self._timed.add(webhook_id)

    def take_timed(self, webhook_ids: Iterable[UUID]) -> list[UUID]:
        """Those of these lanes that a timer or a sweep has woken since the last call with them."""
        timed = [webhook_id for webhook_id in webhook_ids if webhook_id in self._timed]
        self._timed.difference_update(timed)
        return timed

    def next_due(self) -> float | None:
        """When a timer wakes the next lane. It may be too early, but never too late."""
        return self._heap[0][0] if self._heap else None


class Floors:
    """Where to begin to look in a lane with a backlog: where the last claim ended. After
    FLOOR_SECONDS, at the beginning again."""

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
