"""HTTP mutations: the service against a bare handler with the same statements; and the receiver, alone."""

import asyncio
import json
import time
from uuid import UUID

from bench import cpu
from bench.measure import Figure, Row, Target, compared, interleave, shown
from bench.sql import SQL
from bench.world import Database, World
from service.auth.tokens import Tokens
from service.demo.children import Child
from service.platform.ids import new_id
from service.platform.settings import Settings

CONNECTIONS = 64
ITEMS = 10_000
USERS = 8


async def _seed(world: World, database: Database) -> str:
    """Items and signed-in users; the name of the file that tells the load of them."""
    items = [row["id"] for row in await SQL.add_items.fetch(database.connection, count=ITEMS)]
    environment = world.environment(database)
    tokens = Tokens.of(Settings(jwt_secret=environment["JWT_SECRET"]))
    issued = []
    for number in range(USERS):
        user_id: UUID = new_id()
        await SQL.add_user.execute(database.connection, id=user_id, name=f"user{number}")
        issued.append(tokens.access(user_id, await SQL.add_session.fetchval(database.connection, user_id=user_id)))
    file = world.directory / "load.json"
    file.write_text(json.dumps({"items": [str(item) for item in items], "tokens": issued}))
    await database.connection.execute("vacuum analyze")
    return str(file)


async def _port(child: Child, *, logged: bool) -> int:
    """Where the server listens: the service logs it, the bare one prints it."""
    if not logged:
        assert child.process.stdout is not None
        return int(await asyncio.wait_for(child.process.stdout.readline(), 30))
    end = time.monotonic() + 30
    while time.monotonic() < end and child.process.returncode is None:
        for line in child.log.read_text().splitlines():
            if '"event": "ready"' in line or '"event":"ready"' in line:
                return int(json.loads(line)["address"].rpartition(":")[2])
        await asyncio.sleep(0.05)
    raise RuntimeError(f"the service did not start: {child.log.read_text()[-2000:]}")


async def _put(world: World, *, bare: bool) -> Figure:
    seconds = world.options.pick(6, 2)
    async with world.database() as database:
        file = await _seed(world, database)
        arguments = ("-m", "bench.bare_api") if bare else ("-m", "service", "serve", "--port", "0")
        child = await world.children.start("api", *arguments, environment=world.environment(database), read_output=bare)
        try:
            port = await _port(child, logged=not bare)
            used, server_used, began = (
                cpu.seconds([child.process.pid]),
                cpu.server_seconds(world.postmaster),
                time.monotonic(),
            )
            took = json.loads(await world.script("bench.load", str(port), str(CONNECTIONS), str(seconds), file))
            elapsed = time.monotonic() - began
            cores = (cpu.seconds([child.process.pid]) - used) / elapsed
            server_cores = (cpu.server_seconds(world.postmaster) - server_used) / elapsed
        finally:
            await world.children.end(child)
    return Figure(
        took["requests"] / took["seconds"],
        "/s",
        more={"p50": took["p50"], "api_cores": cores, "postgres_cores": server_cores},
    )


async def scenario_api(world: World) -> list[Row]:
    figures = await interleave(
        world.options.pairs,
        {"service": lambda: _put(world, bare=False), "bare handler": lambda: _put(world, bare=True)},
    )
    row = compared(
        f"PUT /items/:id, {ITEMS:,} items, {USERS} users, {CONNECTIONS} connections, one process",
        figures,
        "service",
        "bare handler",
        Target("at least", 0.7),
    )
    last = figures["service"][-1].more
    row.absolute += f"; p50 {shown(last['p50'])} ms, the process takes {last['api_cores']:.0%} of a core"
    return [row]


async def scenario_receiver(world: World) -> list[Row]:
    """What the receiver takes when nothing but a bare client sends to it."""
    before, began = cpu.seconds([world.receiver.pid]), time.monotonic()
    took = json.loads(await world.script("bench.load", str(world.receiver.port), "64", str(world.options.pick(5, 2))))
    share = (cpu.seconds([world.receiver.pid]) - before) / (time.monotonic() - began)
    rate = took["requests"] / took["seconds"]
    return [
        Row(
            "the receiver alone, 64 connections of a bare client",
            absolute=f"{shown(rate)}/s, {share:.0%} of a core",
            raw={"receiver": [Figure(rate, "/s", receiver_share=share)]},
        )
    ]
