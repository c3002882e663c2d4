"""Suspects: deliveries that may be the ones that crash relays. A relay sends each while no other
delivery is in flight in that relay. Then a crash loses no lease of another delivery, and a suspect
that is not the cause is delivered. Tests of webhooks go on meanwhile: they are no deliveries."""

import asyncio
import time

from relay.board import Board
from relay.claim.claimer import Claimer
from relay.claim.slots import Slots
from relay.record.record import Recorder
from service.platform.db import Pool
from service.platform.queries import load

_SQL = load("claim")
_STOP_SECONDS = 0.1
_OFFER_SECONDS = 0.002


class Alone:
    """`sending` is set while a suspect is in flight, or waits for all other deliveries to end. This
    relay leases no other delivery meanwhile."""

    def __init__(self, pool: Pool, board: Board, recorder: Recorder, slots: Slots, claimer: Claimer) -> None:
        self._pool = pool
        self._board = board
        self._recorder = recorder
        self._slots = slots
        self._claimer = claimer
        self._wanted = True
        self._not_before = 0.0
        self.sending = False

    def look_again(self) -> None:
        self._wanted = True

    @property
    def next_look(self) -> float | None:
        """When to look for suspects, in monotonic seconds. None if there are none to look for."""
        return self._not_before if self._wanted else None

    async def send(self) -> None:
        """Send one suspect, if there is one. Suspects get at most half of the relay's time, so that
        they do not hold up the other deliveries for long."""
        lanes = [row["webhook_id"] for row in await _SQL.suspects.fetch(self._pool, now=None)]
        if not lanes:
            self._wanted = False
            return
        began = time.monotonic()
        self.sending = True
        try:
            await self._nothing_in_flight()
            if self._board.stopping:
                return
            # If no suspect can be claimed, another relay has it, or its webhook has no tokens. The
            # next sweep looks again.
            self._wanted = False
            if await self._claimer.claim([(lane, 1) for lane in lanes], 1, suspects=True):
                self._wanted = True
            await self._nothing_in_flight()
        finally:
            self.sending = False
        ended = time.monotonic()
        self._not_before = ended + (ended - began)

    async def _nothing_in_flight(self) -> None:
        while self._slots.in_use and not self._board.stopping:
            if self._slots.in_flight:
                await self._slots.emptied(_STOP_SECONDS)
            else:
                # A fan-out is under way, with slots that were offered to it earlier.
                await asyncio.sleep(_OFFER_SECONDS)
        if not self._board.stopping:
            # Record what was delivered before a crash can lose it.
            await self._recorder.drained()
