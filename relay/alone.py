"""Deliveries that may be what kills relays: each is sent while no other is in flight, so that it takes none along, and what was
only taken along so far is cleared of the suspicion."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

from relay.record import Recorder
from relay.slots import Slots
from service.platform.db import Pool
from service.platform.queries import load

_SQL = load("claim")
_STOP_SECONDS = 0.1
_OFFER_SECONDS = 0.002


class Alone:
    """`take` claims one suspect of the lanes and starts it; False if there was none. `sending`: nothing else is to be leased."""

    def __init__(
        self,
        pool: Pool,
        recorder: Recorder,
        slots: Slots,
        *,
        take: Callable[[Sequence[UUID]], Awaitable[bool]],
        stopping: Callable[[], bool],
    ) -> None:
        self._pool = pool
        self._recorder = recorder
        self._slots = slots
        self._take = take
        self._stopping = stopping
        self._wanted = True
        self._not_before = 0.0
        self.sending = False

    def look_again(self) -> None:
        self._wanted = True

    @property
    def next_look(self) -> float | None:
        """In monotonic seconds; None while there is nothing to look for."""
        return self._not_before if self._wanted else None

    async def send(self) -> None:
        """One of them, if there is one. They get at most half of the relay's time, so that the others are not held up for long."""
        lanes = [row["webhook_id"] for row in await _SQL.suspects.fetch(self._pool, now=None)]
        if not lanes:
            self._wanted = False
            return
        began = time.monotonic()
        self.sending = True
        try:
            await self._nothing_in_flight()
            if self._stopping():
                return
            # Where none was to be had, another relay has it, or its webhook has no tokens: the next sweep looks again.
            self._wanted = False
            if await self._take(lanes):
                self._wanted = True
            await self._nothing_in_flight()
        finally:
            self.sending = False
        ended = time.monotonic()
        self._not_before = ended + (ended - began)

    async def _nothing_in_flight(self) -> None:
        while self._slots.in_use and not self._stopping():
            if self._slots.in_flight:
                await self._slots.emptied(_STOP_SECONDS)
            else:
                # Fan-out is at it, with slots that it was offered before.
                await asyncio.sleep(_OFFER_SECONDS)
        if not self._stopping():
            # What was delivered is recorded, too, before it can be lost.
            await self._recorder.drained()
