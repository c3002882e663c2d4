"""A trial: a steady load, relays and a receiver as processes, a fault, and the account."""

import asyncio
import signal
import sys
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any, TypeVar
from uuid import UUID

import asyncpg
import pytest

from service.platform.db import AWAY
from service.platform.settings import Settings
from tests.support.paths import ROOT
from tests.support.relay.processes import RelayProcess, Relays
from tests.support.rows import add_webhook, write_event
from tests.support.trials.account import Account
from tests.support.waiting import until

# How long a recovery may take, in seconds. It is far more than it should take: the account has the
# real time.
PATIENCE = 180.0
T = TypeVar("T")


class Reconnecting:
    """A connection that reconnects after an outage. A statement may be executed twice."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None
        self._lock = asyncio.Lock()

    async def _connected(self) -> "asyncpg.Connection[asyncpg.Record]":
        if self._connection is None or self._connection.is_closed():
            self._connection = await asyncpg.connect(self._url, timeout=10, server_settings={"timezone": "UTC"})
        return self._connection

    async def _ask(self, method: str, query: str, *args: Any) -> Any:
        end = monotonic() + PATIENCE
        while True:
            try:
                async with self._lock:
                    return await getattr(await self._connected(), method)(query, *args)
            except AWAY:
                if monotonic() > end:
                    raise
                await asyncio.sleep(0.05)

    async def fetch(self, query: str, *args: Any) -> list[asyncpg.Record]:
        rows: list[asyncpg.Record] = await self._ask("fetch", query, *args)
        return rows

    async def fetchrow(self, query: str, *args: Any) -> asyncpg.Record | None:
        row: asyncpg.Record | None = await self._ask("fetchrow", query, *args)
        return row

    async def fetchval(self, query: str, *args: Any) -> Any:
        return await self._ask("fetchval", query, *args)

    async def execute(self, query: str, *args: Any) -> str:
        return str(await self._ask("execute", query, *args))

    def close(self) -> None:
        if self._connection is not None:
            self._connection.terminate()


class Load:
    """Writers that commit one event after the other, and go on when the server comes back. Only
    confirmed commits count here. Unconfirmed ones are found in the log."""

    def __init__(self, url: str, per_second: float) -> None:
        self._url = url
        self._pause = WRITERS / per_second
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False
        self._routed = False
        self.committed: dict[str, float] = {}
        self.slowest = 0.0
        self.refused = 0

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._write()) for _ in range(WRITERS)]

    async def stop(self) -> None:
        self._stopping = True
        await asyncio.gather(*self._tasks)

    async def _write(self) -> None:
        connection: asyncpg.Connection[asyncpg.Record] | None = None
        while not self._stopping:
            try:
                if connection is None:
                    connection = await asyncpg.connect(self._url, timeout=10)
                began = monotonic()
                # Alternately as the service writes events, and as psql does.
                self._routed = not self._routed
                event_id = await write_event(connection, routed=self._routed)
                self.committed[str(event_id)] = monotonic()
                self.slowest = max(self.slowest, monotonic() - began)
            except (*AWAY, asyncpg.PostgresError):
                self.refused += 1
                if connection is not None:
                    connection.terminate()
                connection = None
            await asyncio.sleep(self._pause)
        if connection is not None:
            connection.terminate()


WRITERS = 4


class CountingReceiver:
    """The process of counting.py, and its notes so far."""

    def __init__(self, notes: Path, delay_ms: int) -> None:
        self._path = notes
        self._delay_ms = delay_ms
        self._offset = 0
        self.arrived: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
        self.url = ""

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.support.receivers.counting", str(self._path), str(self._delay_ms), cwd=ROOT
        )

        async def listens() -> bool:
            return self._path.exists() and b"\n" in self._path.read_bytes()

        await until(listens, "the receiver listens")
        port, _, _ = self._path.read_text().partition("\n")
        self._offset = len(port) + 1
        self.url = f"http://127.0.0.1:{port}"

    def read(self) -> None:
        with self._path.open("rb") as file:
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self._offset += len(line)
                when, webhook, event, _ = line.decode().split()
                self.arrived[webhook, event].append(float(when))

    async def stop(self) -> None:
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        await self._process.wait()


@dataclass
class Trial:
    """One fault. `disturbed` are the ids of the relays that it has met: requests that they had in
    flight may arrive twice."""

    fault: str
    db: Reconnecting
    relays: Relays
    load: Load
    receiver: CountingReceiver
    webhooks: list[str]
    times: int = 0
    disturbed: set[UUID] = field(default_factory=set)
    recovered: list[float] = field(default_factory=list)
    may_repeat: bool = True

    async def id_of(self, relay: RelayProcess) -> UUID:
        found: UUID = await self.db.fetchval("select id from relays where pid = $1 order by started_at desc", relay.pid)
        return found

    async def at_work(self, relay_id: UUID, leases: int = 2) -> None:
        """Wait until a relay holds leases."""

        async def holds() -> bool:
            held: int = await self.db.fetchval("select count(*) from deliveries where leased_by = $1", relay_id)
            return held >= leases

        await until(holds, f"relay {relay_id} holds leases", PATIENCE)

    async def disturb(self, relay: RelayProcess, number: signal.Signals) -> UUID:
        relay_id = await self.id_of(relay)
        self.disturbed.add(relay_id)
        relay.send(number)
        self.times += 1
        return relay_id

    async def disturb_all(self) -> None:
        self.disturbed |= {row["id"] for row in await self.db.fetch("select id from relays")}

    async def recovers(self) -> None:
        """Wait until everything that was committed before now has arrived, and note the time."""
        now = monotonic()
        missing = self._missing(list(self.load.committed))

        async def arrived() -> bool:
            self.receiver.read()
            missing.difference_update([pair for pair in missing if pair in self.receiver.arrived])
            return not missing

        wanted = set(missing)
        await until(arrived, f"{self.fault}: all that was committed arrives", PATIENCE)
        self.recovered.append(max([self.receiver.arrived[pair][0] - now for pair in wanted], default=0.0))

    def _missing(self, events: Iterable[str]) -> set[tuple[str, str]]:
        self.receiver.read()
        pairs = {(webhook, event) for webhook in self.webhooks for event in events}
        return {pair for pair in pairs if pair not in self.receiver.arrived}

    async def account(self) -> Account:
        """Ends the load, waits until the queues are empty, and counts."""
        await self.load.stop()

        async def empty() -> bool:
            return bool(
                await self.db.fetchval(
                    "select not exists (select from outbox) and not exists (select from deliveries where webhook_id = any ($1))",
                    self.webhooks,
                )
            )

        await until(empty, f"{self.fault}: the queues are empty", PATIENCE)
        self.receiver.read()
        logged = {str(row["id"]) for row in await self.db.fetch("select id from events where type = 'item-created'")}
        events = logged | set(self.load.committed)
        owed = {(webhook, event) for webhook in self.webhooks for event in events}
        arrived = {pair: len(times) for pair, times in self.receiver.arrived.items()}
        rows = await self.db.fetch(
            "select webhook_id, event_id, outcome, lost_by from attempts where webhook_id = any ($1)", self.webhooks
        )
        ends = Counter((str(row["webhook_id"]), str(row["event_id"])) for row in rows if row["outcome"] == "success")
        twice = {pair for pair, times in arrived.items() if times > 1}
        explained = {
            (str(row["webhook_id"]), str(row["event_id"]))
            for row in rows
            if row["lost_by"] in self.disturbed or row["outcome"] in ("superseded", "retry")
        }
        # An event that arrived and is not recorded as delivered is a false log. It counts like a
        # loss.
        delivered = {pair for pair in owed if pair in arrived and ends[pair] == 1}
        return Account(
            fault=self.fault,
            times=self.times,
            committed=len(events),
            owed=len(owed),
            delivered=len(delivered),
            lost=len(owed) - len(delivered),
            duplicated=sum(arrived[pair] - 1 for pair in twice),
            unexplained=len(twice - explained),
            recovered=self.recovered,
            slowest_commit=self.load.slowest,
            slowest_event=max(
                (
                    min(times) - self.load.committed[event]
                    for (_, event), times in self.receiver.arrived.items()
                    if event in self.load.committed
                ),
                default=0.0,
            ),
        )


@asynccontextmanager
async def trial(
    fault: str,
    url: str,
    settings: Settings,
    directory: Path,
    *,
    webhooks: int = 4,
    per_second: float = 50,
    delay_ms: int = 40,
) -> AsyncIterator[Trial]:
    """A database with webhooks, a receiver for them, and a load that is not started yet. The test
    starts the relays."""
    db = Reconnecting(url)
    receiver = CountingReceiver(directory / "notes", delay_ms)
    relays = Relays(directory, db)
    load = Load(url, per_second)
    try:
        await receiver.start()
        ids = [
            str((await add_webhook(db, settings, f"{receiver.url}/{number}", ["item-created"])).id)
            for number in range(webhooks)
        ]
        yield Trial(fault, db, relays, load, receiver, ids)
    finally:
        try:
            await load.stop()
            await relays.stop()
        finally:
            await receiver.stop()
            db.close()


FULL = "JOSSIEDB_TEST_FAULTS"
StartTrial = Callable[..., AbstractAsyncContextManager[Trial]]
HowOften = Callable[[int, int], int]


def trials(request: pytest.FixtureRequest, url: str, settings: Settings, directory: Path) -> StartTrial:
    """Trials on this database. At the end of each, the account is checked."""

    @asynccontextmanager
    async def start(fault: str, *, through: str = url, **options: int) -> AsyncIterator[Trial]:
        async with trial(fault, through, settings, directory, **options) as running:
            yield running
            account = await running.account()
            request.node.user_properties.append(("fault", asdict(account)))
            account.check(may_repeat=running.may_repeat)

    return start
