"""Relays as processes, receivers that remember, and webhooks without the API: what tests of the relay are made of."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, TypeAlias
from uuid import UUID

import asyncpg
from aiohttp import web

from relay.lead.doorbell import LOCK_CLASS, LOCK_LEADER
from service.delivery import sign
from service.delivery.subject import columns, subject_of
from service.platform.ids import new_id
from service.platform.queries import load
from service.platform.settings import Settings
from tests.support.postgres.shared_server import THIS_DATABASE

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
PATIENCE = 60.0
RELAY = (sys.executable, "-m", "relay")
_TICK = 0.01


class Queries(Protocol):
    """What tests ask the database through: a connection, or something that outlives the server's absence."""

    async def fetch(self, query: str, *args: Any) -> list[asyncpg.Record]: ...

    async def fetchrow(self, query: str, *args: Any) -> asyncpg.Record | None: ...

    async def fetchval(self, query: str, *args: Any) -> Any: ...

    async def execute(self, query: str, *args: Any) -> str: ...


async def until(condition: Callable[[], Awaitable[object]], what: str, patience: float = PATIENCE) -> None:
    """Wait for a condition; `what` is said if it never comes."""
    loop = asyncio.get_running_loop()
    end = loop.time() + patience
    while not await condition():
        if loop.time() > end:
            raise AssertionError(f"not within {patience} s: {what}")
        await asyncio.sleep(_TICK)


class RelayProcess:
    """`python -m relay` with the settings of the environment; `command` is what starts it otherwise."""

    def __init__(self, log: Path, environment: Mapping[str, str], command: Sequence[str] = RELAY) -> None:
        self._log = log
        self._environment = environment
        self._command = command
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command, stdout=log, stderr=log, env={**os.environ, **self._environment}
            )

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        assert self._process is not None
        return self._process.returncode

    def send(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

    async def ended(self) -> int:
        assert self._process is not None
        return await asyncio.wait_for(self._process.wait(), PATIENCE)

    def log(self) -> list[dict[str, Any]]:
        """What it has logged; a line that is not JSON is a traceback or a warning, and a defect."""
        return [json.loads(line) for line in self._log.read_text(encoding="utf-8").splitlines()]


@dataclass
class Relays:
    """The relays of one test; all are ended with it."""

    directory: Path
    connection: Queries
    started: list[RelayProcess] = field(default_factory=list)

    async def start(self, count: int = 1, *, command: Sequence[str] = RELAY, **environment: str) -> list[RelayProcess]:
        """Start some, and wait until each is present and one of all leads; where there are several, its presence says which."""
        new = []
        for _ in range(count):
            relay = RelayProcess(self.directory / f"relay{len(self.started)}.log", environment, command)
            await relay.start()
            self.started.append(relay)
            new.append(relay)
        for relay in new:
            await until(lambda relay=relay: self.row(relay), f"relay {relay.pid} is present")  # type: ignore[misc]
        # That it leads is told by its next beat, a second later. Where there is no peer, nobody has to know.
        await until(self._led if len(self.started) == 1 else self.leader, "a relay leads")
        return new

    async def start_changed(self, change: str, **environment: str) -> RelayProcess:
        """One in whose process this has been run before."""
        script = self.directory / f"relay{len(self.started)}.py"
        script.write_text(f"{change}\nfrom relay.__main__ import main\nmain()\n")
        command = (sys.executable, str(script))
        (relay,) = await self.start(1, command=command, PYTHONPATH=str(Path.cwd()), **environment)
        return relay

    async def row(self, relay: RelayProcess) -> asyncpg.Record | None:
        assert relay.exit_code is None, f"the relay ended: {relay.log()}"
        return await self.connection.fetchrow("select * from relays where pid = $1", relay.pid)

    async def _led(self) -> bool:
        found: bool = await self.connection.fetchval(
            "select exists (select from pg_locks where locktype = 'advisory' and classid = $1 and objid = $2 and granted"
            f" and {THIS_DATABASE})",
            LOCK_CLASS,
            LOCK_LEADER,
        )
        return found

    async def leader(self) -> RelayProcess | None:
        """The one that leads, as its presence says."""
        pid = await self.connection.fetchval(
            "select pid from relays where leader and seen_at > clock_timestamp() - interval '3 seconds'"
        )
        return next((relay for relay in self.started if relay.pid == pid and relay.exit_code is None), None)

    async def follower(self) -> RelayProcess:
        leader = await self.leader()
        return next(relay for relay in self.started if relay is not leader and relay.exit_code is None)

    async def poll_wakes(self) -> int:
        found: int = await self.connection.fetchval("select coalesce(sum(poll_wakes), 0)::int from relays")
        return found

    async def idle(self) -> None:
        """Wait until both queues are empty."""

        async def empty() -> bool:
            found: bool = await self.connection.fetchval(
                "select not exists (select from outbox) and not exists (select from deliveries)"
            )
            return found

        await until(empty, "outbox and deliveries are empty")

    async def stop(self) -> None:
        for relay in self.started:
            relay.send(signal.SIGCONT)
            relay.send(signal.SIGTERM)
        for relay in self.started:
            try:
                await relay.ended()
            except TimeoutError:
                relay.send(signal.SIGKILL)
                await relay.ended()


@dataclass(frozen=True)
class Arrival:
    """A request as it reached the receiver."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def envelope(self) -> dict[str, Any]:
        parsed: dict[str, Any] = json.loads(self.body)
        return parsed

    @property
    def event_id(self) -> str:
        return str(self.envelope["id"])


Answer = Callable[[Arrival], Awaitable[web.StreamResponse]]


async def accept(_: Arrival) -> web.StreamResponse:
    return web.Response(text="ok")


@dataclass
class Receiver:
    """A receiver on a free port of 127.0.0.1. `answer` may be replaced at any time."""

    answer: Answer = accept
    arrivals: list[Arrival] = field(default_factory=list)
    url: str = ""
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        arrival = Arrival(request.path, dict(request.headers), await request.read())
        self.arrivals.append(arrival)
        async with self._changed:
            self._changed.notify_all()
        return await self.answer(arrival)

    def ids(self) -> list[str]:
        return [arrival.event_id for arrival in self.arrivals]

    async def wait_for(self, condition: Callable[[], bool], patience: float = PATIENCE) -> None:
        async with self._changed:
            await asyncio.wait_for(self._changed.wait_for(condition), patience)


@asynccontextmanager
async def receiving(answer: Answer = accept) -> AsyncIterator[Receiver]:
    receiver = Receiver(answer)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", receiver.handle)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield receiver
    finally:
        await runner.cleanup()


@dataclass(frozen=True)
class Webhook:
    id: UUID
    secret: str


async def add_user(connection: Queries, role: str = "admin", status: str = "active") -> UUID:
    user_id = new_id()
    await connection.execute(
        "insert into users (id, username, email, full_name, role, status, password_hash) values ($1, $2, $3, 'A Person', $4, $5, '!')",
        user_id,
        f"user-{user_id.hex[-12:]}",
        f"{user_id.hex}@example.org",
        role,
        status,
    )
    return user_id


async def add_webhook(
    connection: Queries,
    settings: Settings,
    url: str,
    events: list[str],
    *,
    owner_id: UUID | None = None,
    max_retries: int = 3,
    retry_delay_ms: int = 100,
    timeout_ms: int = 5000,
    headers: Mapping[str, str] | None = None,
    locations: list[UUID] | None = None,
    categories: list[UUID] | None = None,
    threshold: int | None = None,
    ordering: str | None = None,
    on_failure: str | None = None,
) -> Webhook:
    webhook_id, secret, vault = new_id(), sign.new_secret(), settings.vault()
    await connection.execute(
        "insert into webhooks (id, owner_id, url, events, secret_sealed, headers_sealed, max_retries, retry_delay_ms, timeout_ms,"
        " filter_locations, filter_categories, min_stock_threshold, ordering, on_failure)"
        " values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
        webhook_id,
        owner_id or await add_user(connection),
        url,
        events,
        vault.seal(secret.encode(), webhook_id.bytes),
        vault.seal(json.dumps(dict(headers)).encode(), webhook_id.bytes) if headers else None,
        max_retries,
        retry_delay_ms,
        timeout_ms,
        locations or [],
        categories or [],
        threshold,
        ordering,
        on_failure,
    )
    return Webhook(webhook_id, secret)


async def write_event(
    connection: Queries,
    event_type: str = "item-created",
    data: str = '{"name":"x"}',
    *,
    location_ids: Sequence[UUID] | None = None,
    routed: bool = False,
) -> UUID:
    """What psql would do; `routed`: what the service does, which says of an event what it is about."""
    if not routed:
        by_psql: UUID = await connection.fetchval(
            "insert into outbox (type, data, location_ids) values ($1, $2, $3) returning id",
            event_type,
            data,
            location_ids,
        )
        return by_psql
    subject = subject_of(event_type, data, location_ids)
    event_id = new_id()
    statement = load("mutation").insert_events
    values = statement.arguments(
        {
            "ids": [event_id],
            "types": [event_type],
            "datas": [subject.data],
            "occurred_at": datetime.now(UTC),
            "traceparent": None,
            **columns([subject]),
        }
    )
    # The database gives another one where this host's clock is not its own.
    written: UUID = await connection.fetchval(statement.sql, *values)
    return written
