"""The leader's look: fans out what is in the outbox, then sleeps until a writer rings. See
relay/lead/doorbell.py."""

import asyncio
import time
from typing import Literal, TypeAlias

import asyncpg

from relay.board import Board
from relay.claim.offers import Offers
from relay.identity import Identity
from relay.lead import doorbell
from relay.lead.batch import Batch
from relay.lead.doorbell import LeaderState
from relay.lead.fanout import FIRST_EVENTS, MAX_EVENTS, FanOut
from relay.lead.listen import COMMAND_TIMEOUT, Listening
from relay.watch.database import Queues
from relay.watch.outage import Outage
from service.platform.db import AWAY, CONTENDED
from service.platform.logs import get_logger

_log = get_logger(__name__)

# After this long without traffic, the connection is probed. It has PROBE_TIMEOUT to answer.
PROBE_SECONDS = 5.0
PROBE_TIMEOUT = 5.0
# A ring may take so long to arrive. If the poll finds something and no ring comes within this time,
# nobody had rung for it.
RING_SECONDS = 0.5

# "unknown": the look failed, so the leader may hold the doorbell's lock.
AfterLook: TypeAlias = LeaderState | Literal["unknown"]


class Look:
    """Fan-out runs on the LISTEN connection itself, which holds the leader's locks. So a leader
    that has lost them cannot fan out."""

    def __init__(
        self, pool: Queues, board: Board, outage: Outage, identity: Identity, offers: Offers, poll_seconds: float
    ) -> None:
        self._pool = pool
        self._board = board
        self._outage = outage
        self._identity = identity
        self._offers = offers
        self._poll = poll_seconds
        # The most events of a batch. It is halved when a batch takes too long, and doubled again
        # when a full one does not.
        self._most = MAX_EVENTS

    async def lead(self, listening: Listening) -> None:
        """Leads until the connection is lost."""
        async with asyncio.timeout(PROBE_TIMEOUT):
            await listening.listen_for_rings()
        fanout = FanOut(listening.connection, FIRST_EVENTS, self._most)
        state: AfterLook = "work"
        refused = 0
        patient = True
        while not listening.lost.is_set():
            patience_ms = 0
            if state == "asleep":
                patient = True
                polled = await self._sleep(listening)
                if listening.lost.is_set():
                    return
                if polled:
                    await self._check_poll(listening, fanout)
            if state != "busy":
                refused = 0
            # Writers are in flight. They do not ring, because the leader is awake. Most end at
            # once.
            elif patient and fanout.few:
                patience_ms = doorbell.PATIENCE_MS
            else:
                pause = doorbell.BUSY_SECONDS[min(refused, len(doorbell.BUSY_SECONDS) - 1)]
                await wait(listening.woken, pause)
                refused += 1
            state = await self._look(
                listening, fanout, release_first=state in {"asleep", "unknown"}, patience_ms=patience_ms
            )
            if patience_ms:
                patient = fanout.waited is not None and fanout.waited < patience_ms / 1000

    async def _check_poll(self, listening: Listening, fanout: FanOut) -> None:
        """Counts a poll that found something that nobody had rung for."""
        async with asyncio.timeout(PROBE_TIMEOUT):
            found = await fanout.anything()
        if found and not await wait(listening.woken, RING_SECONDS):
            self._identity.poll_wakes += 1
            _log.warning("the poll found what nobody had rung for")

    async def _sleep(self, listening: Listening) -> bool:
        """Sleeps until a writer rings, the poll is due, or the connection is lost. True if the poll
        is due."""
        until = time.monotonic() + self._poll
        while not listening.woken.is_set() and not listening.lost.is_set():
            left = until - time.monotonic()
            if left <= 0:
                return True
            if not await wait(listening.woken, min(left, PROBE_SECONDS)):
                async with asyncio.timeout(PROBE_TIMEOUT):
                    await doorbell.probe(listening.connection)
        return False

    async def _look(self, listening: Listening, fanout: FanOut, *, release_first: bool, patience_ms: int) -> AfterLook:
        """Fans out the outbox, and what comes meanwhile if a batch was full. The last batch falls
        asleep if nothing is left."""
        while True:
            # Clear it before the look, never after, so that no ring is lost.
            listening.woken.clear()
            batch = await self._fan_out(listening, fanout, release_first=release_first, patience_ms=patience_ms)
            if batch is None:
                return "unknown"
            patience_ms = 0
            self._outage.over("fan-out")
            self._outage.over("listen")
            release_first = batch.state == "asleep"
            with self._pool.asking(listening.connection):
                await self._offers.take(listening.connection, batch.leases, batch.versions, batch.moment)
            if batch.lanes:
                # In the opposite order of its peers, so that they do not ask for the same lanes at
                # the same time.
                self._board.due(batch.lanes[::-1])
                self._board.hint_peers(batch.lanes)
            if batch.wakes:
                with self._pool.asking(listening.connection):
                    woken = await fanout.lane_wakes()
                self._board.requested(woken)
                self._board.hint_peers(woken)
            if not batch.full or listening.lost.is_set():
                return batch.state

    async def _fan_out(
        self, listening: Listening, fanout: FanOut, *, release_first: bool, patience_ms: int
    ) -> Batch | None:
        """Fans out one batch. None if the server refused it, for example because its disk is full,
        and the connection still works."""
        began = time.monotonic()
        try:
            with self._pool.asking(listening.connection):
                batch = await fanout.batch(
                    self._offers.offer, release_first=release_first, sleep_if_idle=True, patience_ms=patience_ms
                )
        except asyncpg.PostgresError as error:
            self._offers.unconfirmed()
            if listening.lost.is_set() or not isinstance(error, (*AWAY, *CONTENDED)):
                raise
            await self._outage.wait("fan-out", error)
            return None
        except BaseException as error:
            if isinstance(error, TimeoutError):
                # A batch of the same size would take as long again.
                self._most = max(1, fanout.limit // 2)
            self._offers.unconfirmed()
            raise
        if batch.events >= self._most < MAX_EVENTS and time.monotonic() - began < COMMAND_TIMEOUT / 10:
            self._most = min(MAX_EVENTS, self._most * 2)
            fanout.allow(self._most)
        return batch


async def wait(event: asyncio.Event, seconds: float) -> bool:
    """True if the event was set within so many seconds."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
