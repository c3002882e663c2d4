"""The base of every scenario: a PostgreSQL, a database for each run, a receiver, and relays."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from bench.client import Client
from bench.database import KEY, OWNER_ID, PATIENCE, TICK, Connection, Database, Receiver
from bench.sql import SQL
from service.demo.children import Child, Children
from service.platform.embedded.server import EmbeddedServer
from service.platform.migrate import migrate

TEMPLATE = "bench_template"
_HERE = Path(__file__).resolve().parents[1]
_OURS = ("JOSSIEDB_", "JWT_", "WEBHOOK_", "RELAY_")
_SERVER_SETTINGS = {
    "max_connections": "300",
    "shared_buffers": "512MB",
    # No checkpoint by size in the middle of a run. Each run begins with a checkpoint.
    "max_wal_size": "8GB",
    "checkpoint_timeout": "30min",
}


@dataclass(frozen=True, slots=True)
class Tree:
    """The programs of a commit. `path` has its files, and is None for this tree."""

    name: str
    path: Path | None = None

    def program(self, *arguments: str) -> tuple[str, ...]:
        """The arguments of Python for a program of this tree. With -P, Python does not look for it
        in the working directory first."""
        return ("-P", "-m", *arguments)


@dataclass(frozen=True, slots=True)
class Options:
    """With `quick`, counts are small. They show that a scenario works, and little else."""

    pairs: int = 5
    quick: bool = False
    trees: tuple[Tree, ...] = (Tree("this tree"),)

    def pick(self, full: int, quick: int) -> int:
        return quick if self.quick else full

    @property
    def warm_up(self) -> float:
        """Seconds of load before a measured stretch."""
        return 0.3 if self.quick else 1.0


class World:
    """Made by `world()`, and ends with it."""

    def __init__(
        self, options: Options, directory: Path, children: Children, server_url: str, receiver: Receiver
    ) -> None:
        self.options = options
        self.directory = directory
        self.children = children
        self.receiver = receiver
        self._server_url = server_url
        self._number = 0
        self._templates: dict[Tree, str] = {}

    @property
    def trees(self) -> tuple[Tree, ...]:
        """This tree, and the one that it is compared with, if there is one."""
        return self.options.trees

    @property
    def postmaster(self) -> int:
        return int((self.directory / "postgres" / "postmaster.pid").read_text().split()[0])

    def environment(self, database: Database, tree: Tree | None = None, **more: str) -> dict[str, str]:
        """The environment of a process on that database. It has the default settings, and none of
        the caller's. A program of another tree finds that tree's modules."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(_OURS) and name not in ("DATABASE_URL", "REGISTRATION")
        }
        if tree is not None:
            kept["PYTHONPATH"] = str(tree.path or _HERE)
        return kept | {
            "DATABASE_URL": database.url,
            "JOSSIEDB_DATA_DIR": str(self.directory),
            "JWT_SECRET": KEY,
            "WEBHOOK_SECRET_KEYS": KEY,
            "WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
            **more,
        }

    async def admin(self) -> Connection:
        return await asyncpg.connect(with_database(self._server_url, "postgres"), command_timeout=PATIENCE)

    @asynccontextmanager
    async def database(self, template: str = TEMPLATE) -> AsyncIterator[Database]:
        """A fresh database, checkpointed, dropped afterwards."""
        self._number += 1
        name = f"bench_{self._number}"
        # Copy a filled template as files. If a gigabyte went through the WAL, the next checkpoint
        # would fall into a measured stretch.
        strategy = "wal_log" if template in (TEMPLATE, *self._templates.values()) else "file_copy"
        admin = await self.admin()
        try:
            await admin.execute(f"create database {name} template {template} strategy {strategy}")
            try:
                url = with_database(self._server_url, name)
                connection = await asyncpg.connect(
                    url, command_timeout=PATIENCE, server_settings={"application_name": "bench"}
                )
                try:
                    await admin.execute("checkpoint")
                    yield Database(name, url, connection)
                finally:
                    connection.terminate()
            finally:
                await admin.execute(f"drop database {name} with (force)")
        finally:
            admin.terminate()

    @asynccontextmanager
    async def template(self, fill: Callable[[Database], Awaitable[object]]) -> AsyncIterator[str]:
        """A database that is filled once. Each run of a scenario begins with a copy of it."""
        async with self.database() as database:
            await fill(database)
            # PostgreSQL copies a database only while nobody is connected to it.
            await database.connection.close()
            yield database.name

    async def template_of(self, tree: Tree) -> str:
        """An empty database that the tree has migrated."""
        if tree not in self._templates:
            name = f"tree_{len(self._templates)}"
            admin = await self.admin()
            try:
                await admin.execute(f"create database {name}")
            finally:
                admin.terminate()
            connection = await asyncpg.connect(url := with_database(self._server_url, name))
            try:
                database = Database(name, url, connection)
                child = await self.children.start(
                    name, *tree.program("service", "migrate"), environment=self.environment(database, tree)
                )
                if await child.process.wait():
                    raise RuntimeError(f"the schema was not made: {child.log.read_text()[-2000:]}")
                await self.children.end(child)
                await SQL.add_user.execute(connection, id=OWNER_ID, name="owner")
            finally:
                await connection.close()
            self._templates[tree] = name
        return self._templates[tree]

    @asynccontextmanager
    async def relays(
        self, database: Database, count: int, transport: str = "own", tree: Tree | None = None, **environment: str
    ) -> AsyncIterator[list[int]]:
        """Start so many relays, and wait until one leads. Yields their process ids. With `tree`,
        they are programs of that tree, with their own transport."""
        started: list[Child] = []
        program = ("-m", "bench.relay", transport) if tree is None else tree.program("relay")
        try:
            for number in range(count):
                started.append(  # noqa: PERF401  # one by one, so that those before it are ended where one does not start
                    await self.children.start(
                        f"{database.name}-relay{number}",
                        *program,
                        environment=self.environment(database, tree, **environment),
                    )
                )
            if started:
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
                # Wait for their first sweep, and for the leader's first housekeeping.
                await asyncio.sleep(0.1 if self.options.quick else 0.5)
                return
            for child in started:
                if child.process.returncode is not None:
                    raise RuntimeError(f"a relay ended: {child.log.read_text()[-2000:]}")
            if time.monotonic() > end:
                raise TimeoutError("the relays are not there after 30 s")
            await asyncio.sleep(TICK)

    @asynccontextmanager
    async def script(self, name: str, *arguments: str) -> AsyncIterator[Child]:
        """A script of the benchmarks. The caller reads its output."""
        child = await self.children.start(name, "-m", *arguments, environment=dict(os.environ), read_output=True)
        try:
            yield child
        finally:
            await self.children.end(child)

    async def output(self, *arguments: str) -> str:
        """The whole output of a script. The script is ended if it takes too long."""
        async with self.script("script", *arguments) as child:
            return await rest_of(child)


async def first_line(child: Child) -> str:
    """The first line of a child's output. Raises RuntimeError if the child ends without one."""
    assert child.process.stdout is not None, "it is started to be read"
    if not (line := await asyncio.wait_for(child.process.stdout.readline(), 30)):
        raise RuntimeError(f"{child.name} ended: {child.log.read_text()[-2000:]}")
    return line.decode().strip()


async def rest_of(child: Child) -> str:
    """The rest of a child's output. Raises RuntimeError if the child fails, and TimeoutError if it
    does not end."""
    assert child.process.stdout is not None, "it is started to be read"
    async with asyncio.timeout(PATIENCE):
        output = (await child.process.stdout.read()).decode()
        await child.process.wait()
    if child.process.returncode:
        raise RuntimeError(f"{child.name}: {child.log.read_text()[-2000:]}")
    return output


@asynccontextmanager
async def world(
    options: Options, directory: Path, server_settings: Mapping[str, str] | None = None
) -> AsyncIterator[World]:
    """Start everything. Data and logs go into `directory`."""
    settings = {**_SERVER_SETTINGS, **(server_settings or {})}
    async with EmbeddedServer(directory, settings=settings) as url, Children(directory) as children:
        await _make_template(url)
        child = await children.start("receiver", "-m", "bench.receiver", environment=dict(os.environ), read_output=True)
        port = int(await first_line(child))
        client = await Client.connect("127.0.0.1", port)
        try:
            yield World(options, directory, children, url, Receiver(child, port, client))
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
            await SQL.add_user.execute(connection, id=OWNER_ID, name="owner")
            await connection.execute("vacuum analyze")
        finally:
            await connection.close()
    finally:
        await admin.close()
