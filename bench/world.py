"""What every scenario stands on: a PostgreSQL of its own, a database for each run, a receiver, relays."""

import asyncio
import base64
import hashlib
import os
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

import asyncpg

from bench import cpu
from bench.client import Client
from bench.receiver import ADDRESSES
from bench.sql import SQL
from service.demo.children import Child, Children
from service.platform.embedded import EmbeddedServer
from service.platform.ids import new_id
from service.platform.migrate import migrate
from service.platform.sign import new_secret
from service.platform.vault import Vault, parse_key

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
TEMPLATE = "bench_template"
EVENT_TYPE = "item-updated"
# Longer than any run takes on a machine that is not hopeless.
PATIENCE = 240.0
_TICK = 0.02
_KEY = base64.b64encode(hashlib.sha256(b"bench").digest()).decode()
_OURS = ("JOSSIEDB_", "JWT_", "WEBHOOK_", "RELAY_")
_SERVER_SETTINGS = {
    "max_connections": "300",
    "shared_buffers": "512MB",
    # No checkpoint by size in the middle of a run; each run begins with one.
    "max_wal_size": "8GB",
    "checkpoint_timeout": "30min",
}


@dataclass(frozen=True, slots=True)
class Options:
    """`quick`: small counts, which show that a scenario works and little else."""

    pairs: int = 5
    quick: bool = False

    def pick(self, full: int, quick: int) -> int:
        return quick if self.quick else full


class Database:
    """One run's database. `owner_id`: the user whom its webhooks belong to."""

    def __init__(self, name: str, url: str, connection: Connection, owner_id: UUID) -> None:
        self.name = name
        self.url = url
        self.connection = connection
        self.owner_id = owner_id

    async def add_webhooks(
        self, urls: Sequence[str], *, locations: Sequence[UUID | None] | None = None, timeout_ms: int = 30_000
    ) -> list[UUID]:
        vault = Vault([parse_key(_KEY)])
        ids = [new_id() for _ in urls]
        await SQL.add_webhooks.execute(
            self.connection,
            owner_id=self.owner_id,
            event_type=EVENT_TYPE,
            timeout_ms=timeout_ms,
            ids=ids,
            urls=list(urls),
            secrets=[vault.seal(new_secret().encode(), id.bytes) for id in ids],
            locations=list(locations) if locations is not None else [None] * len(ids),
        )
        return ids

    async def write_events(self, count: int, locations: Sequence[UUID] = ()) -> None:
        await SQL.write_events.execute(self.connection, event_type=EVENT_TYPE, count=count, locations=list(locations))

    async def until_drained(self, patience: float = PATIENCE) -> None:
        """Until both queues are empty."""
        end = time.monotonic() + patience
        while not await SQL.drained.fetchval(self.connection):
            if time.monotonic() > end:
                raise TimeoutError(f"the queues are not empty after {patience:.0f} s")
            await asyncio.sleep(_TICK)


class Receiver:
    """The receiver's process and a connection to ask it on."""

    def __init__(self, child: Child, port: int, client: Client) -> None:
        self.pid = child.process.pid
        self.port = port
        self._client = client

    def urls(self, count: int, prefix: str = "") -> list[str]:
        """So many, over its addresses in turn, so that a sender needs connections to each."""
        return [f"http://127.0.0.{number % ADDRESSES + 1}:{self.port}{prefix}/{number}" for number in range(count)]

    async def reset(self) -> None:
        await self._client.get("/_reset")

    async def count(self) -> int:
        return int(await self._client.get("/_count"))

    async def until(self, count: int, patience: float = PATIENCE) -> None:
        end = time.monotonic() + patience
        while (seen := await self.count()) < count:
            if time.monotonic() > end:
                raise TimeoutError(f"{seen} of {count} deliveries arrived in {patience:.0f} s")
            await asyncio.sleep(_TICK)

    async def arrivals(self) -> dict[UUID, float]:
        """When each event first arrived, in monotonic seconds."""
        lines = (await self._client.get("/_arrivals")).decode().splitlines()
        return {UUID(event_id): float(at) for event_id, _, at in (line.partition(" ") for line in lines)}


class Meter:
    """CPU used between `start` and `stop` by relays, PostgreSQL and the receiver."""

    def __init__(self, world: "World", relays: Sequence[int]) -> None:
        self._world = world
        self._relays = relays
        self._before = self._now()

    def _now(self) -> tuple[float, float, float, float]:
        return (
            cpu.seconds(self._relays),
            cpu.server_seconds(self._world.postmaster),
            cpu.seconds([self._world.receiver.pid]),
            time.monotonic(),
        )

    def start(self) -> None:
        self._before = self._now()

    def stop(self) -> cpu.Cpu:
        return cpu.Cpu(*(after - before for after, before in zip(self._now(), self._before, strict=True)))


class World:
    """Made by `world()`; ends with it."""

    def __init__(
        self, options: Options, directory: Path, children: Children, server_url: str, receiver: Receiver
    ) -> None:
        self.options = options
        self.directory = directory
        self.children = children
        self.receiver = receiver
        self._server_url = server_url
        self._number = 0

    @property
    def postmaster(self) -> int:
        return int((self.directory / "postgres" / "postmaster.pid").read_text().split()[0])

    def environment(self, database: Database, **more: str) -> dict[str, str]:
        """For a process on that database: the settings' defaults, whatever those of the one who measures."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(_OURS) and name not in ("DATABASE_URL", "REGISTRATION")
        }
        return kept | {
            "DATABASE_URL": database.url,
            "JOSSIEDB_DATA_DIR": str(self.directory),
            "JWT_SECRET": _KEY,
            "WEBHOOK_SECRET_KEYS": _KEY,
            "WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
            **more,
        }

    async def admin(self) -> Connection:
        return await asyncpg.connect(with_database(self._server_url, "postgres"), command_timeout=PATIENCE)

    @asynccontextmanager
    async def database(self) -> AsyncIterator[Database]:
        """A fresh database, checkpointed, dropped afterwards."""
        self._number += 1
        name = f"bench_{self._number}"
        admin = await self.admin()
        try:
            await admin.execute(f"create database {name} template {TEMPLATE}")
            try:
                url = with_database(self._server_url, name)
                connection = await asyncpg.connect(
                    url, command_timeout=PATIENCE, server_settings={"application_name": "bench"}
                )
                try:
                    owner_id = new_id()
                    await SQL.add_user.execute(connection, id=owner_id, name="owner")
                    await admin.execute("checkpoint")
                    yield Database(name, url, connection, owner_id)
                finally:
                    connection.terminate()
            finally:
                await admin.execute(f"drop database {name} with (force)")
        finally:
            admin.terminate()

    @asynccontextmanager
    async def relays(
        self, database: Database, count: int, transport: str = "own", **environment: str
    ) -> AsyncIterator[list[int]]:
        """So many relays, present and led, as process ids."""
        started: list[Child] = []
        try:
            for number in range(count):
                started.append(  # noqa: PERF401  # one by one, so that those before it are ended where one does not start
                    await self.children.start(
                        f"relay{self._number}-{number}",
                        "-m",
                        "bench.relay",
                        transport,
                        environment=self.environment(database, **environment),
                    )
                )
            await self._until_present(database, started)
            yield [child.process.pid for child in started]
        finally:
            await self.children.end(*started)

    async def _until_present(self, database: Database, started: Sequence[Child]) -> None:
        end = time.monotonic() + 30
        while True:
            row = await SQL.relays.fetchrow(database.connection)
            assert row is not None, "an aggregate gives a row"
            if row["present"] == len(started) and row["led"]:
                # Their first sweep, and the leader's first round of housekeeping.
                await asyncio.sleep(0.5)
                return
            for child in started:
                if child.process.returncode is not None:
                    raise RuntimeError(f"a relay ended: {child.log.read_text()[-2000:]}")
            if time.monotonic() > end:
                raise TimeoutError("the relays are not there after 30 s")
            await asyncio.sleep(_TICK)

    async def script(self, *arguments: str, patience: float = PATIENCE) -> str:
        """What a script of the benchmarks prints. It is ended when it takes too long."""
        child = await self.children.start(
            f"script-{arguments[0]}", "-m", *arguments, environment=dict(os.environ), read_output=True
        )
        try:
            assert child.process.stdout is not None
            async with asyncio.timeout(patience):
                output = (await child.process.stdout.read()).decode()
                await child.process.wait()
        finally:
            await self.children.end(child)
        if child.process.returncode:
            raise RuntimeError(f"{' '.join(arguments)}: {child.log.read_text()[-2000:]}")
        return output


@asynccontextmanager
async def world(
    options: Options, directory: Path, server_settings: Mapping[str, str] | None = None
) -> AsyncIterator[World]:
    """Everything up, with `directory` as the place of data and logs."""
    settings = {**_SERVER_SETTINGS, **(server_settings or {})}
    async with EmbeddedServer(directory, settings=settings) as url, Children(directory) as children:
        await _make_template(url)
        child = await children.start("receiver", "-m", "bench.receiver", environment=dict(os.environ), read_output=True)
        assert child.process.stdout is not None
        port = (await asyncio.wait_for(child.process.stdout.readline(), 30)).decode().strip()
        if not port:
            sys.exit(f"the receiver did not start: {child.log.read_text()}")
        client = await Client.connect("127.0.0.1", int(port))
        try:
            yield World(options, directory, children, url, Receiver(child, int(port), client))
        finally:
            client.close()


def with_database(url: str, name: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


async def _make_template(server_url: str) -> None:
    admin = await asyncpg.connect(with_database(server_url, "postgres"))
    try:
        await admin.execute(f"create database {TEMPLATE}")
        connection = await asyncpg.connect(with_database(server_url, TEMPLATE))
        try:
            await migrate(connection)
            await connection.execute("vacuum analyze")
        finally:
            await connection.close()
    finally:
        await admin.close()
