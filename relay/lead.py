"""The LISTEN connection, and what a relay does on it: hear of work, and lead if nobody else does."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Literal, Protocol, TypeAlias
from uuid import UUID

import asyncpg
from asyncpg.pgproto import pgproto

from relay import doorbell
from relay.batch import Batch
from relay.database import PLANNING, QueueConnection, Queues, introduce
from relay.doorbell import Falling
from relay.fanout import FIRST_EVENTS, MAX_EVENTS, FanOut
from relay.outage import Outage
from relay.slots import Offer
from service.platform.db import AWAY, CONTENDED
from service.platform.epoch import Epoch
from service.platform.logs import get_logger
from service.platform.queries import Executor, load
from service.platform.session import open_session

_log = get_logger(__name__)
_SQL = load("lead")

ELECTION_SECONDS = 1.0
# How long a silent connection is trusted before it is asked whether it is still one, and how long it has to answer.
PROBE_SECONDS = 5.0
PROBE_TIMEOUT = 5.0
SET_UP_TIMEOUT = 10.0
COMMAND_TIMEOUT = 60.0
# How long a backend may take to end.
END_MS = 3000
# A ring is on its way for so long; what the poll finds and nobody rings for in that time, nobody had rung for.
RING_SECONDS = 0.5
# A NOTIFY's payload is at most 8,000 bytes, so many lanes. More than so many altogether are said as "look at all".
HINTED_AT_ONCE = 200
MAX_HINTED = 10_000
ALL = "*"

LISTENING = {
    "statement_timeout": "0",
    "idle_session_timeout": "0",
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "10000",
    **PLANNING,
}


# Where a look leaves the leader. Unknown: it failed, and the doorbell's lock may be held.
State: TypeAlias = Falling | Literal["unknown"]


class Sending(Protocol):
    """What a leader asks of its own sending side, so that what it fans out need not be claimed by it."""

    def offer(self) -> Offer:
        """Slots for what is about to be queued; they are kept until one of the others is called."""

    async def take(self, connection: Executor, batch: Batch) -> None:
        """Send what was leased."""

    def unanswered(self) -> None:
        """What was leased, if anything, is not known."""

    def untold(self) -> None:
        """Whatever was leased unheard by a statement on an earlier connection, that has ended by now."""


class Lead:
    """`sending` takes what it can of what is fanned out; `on_queued` hears of lanes that have more, `on_given_work` of lanes that
    somebody else gave something to do, `on_missed` that anything may have been missed. `leader` is set while this relay leads.

    Fan-out runs on the LISTEN connection itself, which holds the leader's locks: a leader that has lost them cannot fan out."""

    def __init__(
        self,
        url: str,
        pool: Queues,
        outage: Outage,
        *,
        poll_seconds: float,
        sending: Sending,
        on_queued: Callable[[Sequence[UUID]], None],
        on_given_work: Callable[[list[UUID]], None],
        on_missed: Callable[[], None],
        has_peers: Callable[[], bool],
        epoch: Epoch | None = None,
    ) -> None:
        self._url = url
        self._pool = pool
        self._outage = outage
        self._poll = poll_seconds
        self._sending = sending
        self._on_queued = on_queued
        self._on_given_work = on_given_work
        self._on_missed = on_missed
        self._has_peers = has_peers
        self._epoch = epoch
        self._wake = asyncio.Event()
        self._lost = asyncio.Event()
        # How many events a batch may have: half of what took too long, and twice what took little since.
        self._most = MAX_EVENTS
        self.relay_id: UUID | None = None
        self.leader = asyncio.Event()
        self.listen_pid: int | None = None
        self.listen_start: datetime | None = None
        self.listen_number = 0
        self.poll_wakes = 0

    async def run(self) -> None:
        """Keep a LISTEN connection, for ever; reconnect with back-off, and sweep then, as anything may have been missed."""
        while True:
            again = self.listen_pid is not None
            try:
                async with self._connection() as connection:
                    if again:
                        self._sending.untold()
                    self._on_missed()
                    await self._serve(connection)
            except (*AWAY, *CONTENDED, asyncpg.PostgresError) as error:
                await self._outage.wait("listen", error)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[QueueConnection]:
        connection = await open_session(
            self._url,
            QueueConnection,
            application_name="jossiedb relay listen",
            settings=LISTENING,
            command_timeout=COMMAND_TIMEOUT,
        )
        try:
            async with asyncio.timeout(SET_UP_TIMEOUT):
                await self._listen(connection)
            yield connection
        finally:
            self.leader.clear()
            # It is no longer this relay's to do.
            self._outage.over("fan-out")
            # Its locks go with it. Never waited for: it may be half-open.
            connection.terminate()

    async def tell_peers(self, webhook_ids: Sequence[UUID] | None) -> None:
        """Wake the other relays, in a transaction of its own: one that writes nothing has nothing to flush. None: look at all, and
        then also those that have come since they were counted last. It never raises: whoever is not told finds it by a sweep."""
        if webhook_ids is not None and not self._has_peers():
            return
        if webhook_ids is None or len(webhook_ids) > MAX_HINTED:
            said = [ALL]
        else:
            parts = range(0, len(webhook_ids), HINTED_AT_ONCE)
            said = [",".join(map(str, webhook_ids[part : part + HINTED_AT_ONCE])) for part in parts]
        try:
            await _SQL.notify_work.execute(self._pool, payloads=[f"{self.relay_id} {lanes}" for lanes in said])
        except (*AWAY, asyncpg.PostgresError) as error:
            _log.info("the other relays were not told of work", error=str(error) or type(error).__name__)

    async def _listen(self, connection: QueueConnection) -> None:
        self._lost.clear()
        if self._epoch is not None:
            await self._epoch.greet(connection)
        connection.add_termination_listener(self._on_lost)
        await connection.add_listener(doorbell.WORK_CHANNEL, self._on_work)
        if self.listen_pid is not None:
            # The one before may have been cut off without the server's knowing, hold the leader's locks still, and lease.
            await self._end_backend(connection, self.listen_pid)
        await introduce(connection)
        self._pool.adopt(connection)
        self.listen_pid, self.listen_start = connection.backend
        self.listen_number += 1
        # Before it can hold the leader's locks: whoever finds this relay stopped must know which backend to end.
        await _SQL.listens.execute(
            connection, id=self.relay_id, pid=self.listen_pid, start=self.listen_start, number=self.listen_number
        )

    async def leave(self) -> None:
        """When it has been cancelled: a fan-out that waits for something in the server would go on, and keep the leader's locks."""
        if self.listen_pid is not None:
            await self._end_backend(self._pool, self.listen_pid)

    async def _end_backend(self, connection: Executor, pid: int) -> None:
        await _SQL.end_backend.execute(connection, pid=pid, start=self.listen_start, wait_ms=END_MS)

    async def _serve(self, connection: QueueConnection) -> None:
        while not self._lost.is_set():
            async with asyncio.timeout(PROBE_TIMEOUT):
                elected = await doorbell.try_lock(connection, doorbell.LOCK_LEADER)
            if elected:
                self.leader.set()
                _log.info("leading", relay_id=str(self.relay_id))
                # What the one before it did last, it may not have lived to tell.
                self._on_missed()
                await self._lead(connection)
            self._outage.over("listen")
            await _wait(self._lost, ELECTION_SECONDS)
        raise asyncpg.InterfaceError("the server closed the LISTEN connection")

    async def _lead(self, connection: QueueConnection) -> None:
        # Only the leader looks at what is rung for.
        async with asyncio.timeout(PROBE_TIMEOUT):
            await connection.add_listener(doorbell.WAKE_CHANNEL, self._on_wake)
        fanout = FanOut(connection, FIRST_EVENTS, self._most)
        state: State = "work"
        refused = 0
        patient = True
        while not self._lost.is_set():
            patience_ms = 0
            if state == "asleep":
                patient = True
                polled = await self._sleep(connection)
                if self._lost.is_set():
                    return
                if polled and await self._anything(fanout) and not await _wait(self._wake, RING_SECONDS):
                    self.poll_wakes += 1
                    _log.warning("the poll found what nobody had rung for")
            if state != "busy":
                refused = 0
            # Writers are in flight, who do not ring, as we are awake. Most are done at once.
            elif patient and fanout.few:
                patience_ms = doorbell.PATIENCE_MS
            else:
                await _wait(self._wake, doorbell.BUSY_SECONDS[min(refused, len(doorbell.BUSY_SECONDS) - 1)])
                refused += 1
            state = await self._look(connection, fanout, asleep=state in {"asleep", "unknown"}, patience_ms=patience_ms)
            if patience_ms:
                patient = fanout.waited is not None and fanout.waited < patience_ms / 1000

    async def _anything(self, fanout: FanOut) -> bool:
        async with asyncio.timeout(PROBE_TIMEOUT):
            return await fanout.anything()

    async def _sleep(self, connection: QueueConnection) -> bool:
        """Until somebody rings, the poll, or the connection is lost. True if it was the poll."""
        until = time.monotonic() + self._poll
        while not self._wake.is_set() and not self._lost.is_set():
            left = until - time.monotonic()
            if left <= 0:
                return True
            if not await _wait(self._wake, min(left, PROBE_SECONDS)):
                async with asyncio.timeout(PROBE_TIMEOUT):
                    await doorbell.probe(connection)
        return False

    async def _look(self, connection: QueueConnection, fanout: FanOut, *, asleep: bool, patience_ms: int) -> State:
        """Fan out what is there, and whatever comes meanwhile if it is much; then fall asleep, if that was all."""
        while True:
            # Before the look, never after.
            self._wake.clear()
            began = time.monotonic()
            try:
                with self._pool.asking(connection):
                    batch = await fanout.batch(self._sending.offer, asleep=asleep, sleepy=True, patience_ms=patience_ms)
                patience_ms = 0
            except asyncpg.PostgresError as error:
                self._sending.unanswered()
                if self._lost.is_set() or not isinstance(error, (*AWAY, *CONTENDED)):
                    raise
                # It was refused, the disk is full, say, and the connection is as it was.
                await self._outage.wait("fan-out", error)
                return "unknown"
            except BaseException as error:
                if isinstance(error, TimeoutError):
                    # It would take as long again.
                    self._most = max(1, fanout.limit // 2)
                self._sending.unanswered()
                raise
            if batch.events >= self._most < MAX_EVENTS and time.monotonic() - began < COMMAND_TIMEOUT / 10:
                self._most = min(MAX_EVENTS, self._most * 2)
                fanout.allow(self._most)
            self._outage.over("fan-out")
            self._outage.over("listen")
            asleep = batch.state == "asleep"
            with self._pool.asking(connection):
                await self._sending.take(connection, batch)
            if batch.lanes:
                # From the other end than its peers, who would ask for the same lanes at the same time.
                self._on_queued(batch.lanes[::-1])
                await self.tell_peers(batch.lanes)
            if batch.wakes:
                with self._pool.asking(connection):
                    woken = await fanout.lane_wakes()
                self._on_given_work(woken)
                await self.tell_peers(woken)
            if not batch.full or self._lost.is_set():
                return batch.state

    def _on_wake(self, *_: Any) -> None:
        self._wake.set()

    def _on_work(self, _connection: Any, _pid: int, _channel: str, payload: Any) -> None:
        sender, _, lanes = str(payload).partition(" ")
        if sender == str(self.relay_id):
            return
        if lanes == ALL:
            self._on_missed()
            return
        try:
            # Of the type that the database's rows have: it is read, and compared with those, in a fraction of the time.
            webhook_ids: list[UUID] = [pgproto.UUID(lane) for lane in lanes.split(",") if lane]
        except ValueError:
            # Anybody may notify; what is not ours is not worth more than a look.
            self._on_missed()
            return
        self._on_queued(webhook_ids)

    def _on_lost(self, *_: Any) -> None:
        self._lost.set()
        self._wake.set()


async def _wait(event: asyncio.Event, seconds: float) -> bool:
    """True if it was set within so long."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
