"""Mutations over HTTP: the service against a bare handler with the same statements. And the
receiver alone."""

import asyncio
import json
import statistics
import time
from uuid import UUID

from bench.database import Database
from bench.measure import Figure, Row, Target, compared, cpu_text, interleave, shown
from bench.meter import under_load
from bench.sql import SQL
from bench.world import World, first_line
from service.auth.tokens import Tokens
from service.demo.children import Child
from service.platform.ids import new_id
from service.platform.settings import Settings

CONNECTIONS = 64
ITEMS = 10_000
USERS = 8


async def seed(world: World, database: Database, count: int) -> str:
    """Add `count` items and signed-in users. Returns the name of the file that lists them."""
    items = [row["id"] for row in await SQL.add_items.fetch(database.connection, count=count)]
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


async def logged_port(child: Child) -> int:
    """The port on which the service listens."""
    end = time.monotonic() + 30
    while time.monotonic() < end and child.process.returncode is None:
        for line in child.log.read_text().splitlines():
            if '"event": "ready"' in line or '"event":"ready"' in line:
                return int(json.loads(line)["address"].rpartition(":")[2])
        await asyncio.sleep(0.05)
    raise RuntimeError(f"the service did not start: {child.log.read_text()[-2000:]}")


async def _put(world: World, *, bare: bool) -> Figure:
    seconds = world.options.pick(6, 1)
    async with world.database() as database:
        file = await seed(world, database, ITEMS)
        arguments = ("-m", "bench.bare_api") if bare else ("-m", "service", "serve", "--port", "0")
        child = await world.children.start("api", *arguments, environment=world.environment(database), read_output=bare)
        try:
            port = int(await first_line(child)) if bare else await logged_port(child)
            numbers = (port, CONNECTIONS, seconds, world.options.warm_up)
            [took], used = await under_load(
                world, [child.process.pid], seconds, ["bench.load", *map(str, numbers), file]
            )
        finally:
            await world.children.end(child)
    rate = took["requests"] / seconds
    return Figure(
        rate,
        "/s",
        used.per_delivery(rate * used.elapsed),
        more={
            "p50": took["p50"],
            "api_cores": used.relay / used.elapsed,
            "postgres_cores": used.postgres / used.elapsed,
        },
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
    row.cpu = cpu_text(figures["service"], process="API", per="a request")
    p50, cores = (
        statistics.median(figure.more[name] for figure in figures["service"]) for name in ("p50", "api_cores")
    )
    row.absolute += f"; p50 {shown(p50)} ms, the process takes {cores:.0%} of a core"
    return [row]


async def scenario_receiver(world: World) -> list[Row]:
    """The rate at which the receiver answers a bare client, when nothing else runs."""
    seconds = world.options.pick(5, 1)
    numbers = (world.receiver.port, CONNECTIONS, seconds, world.options.warm_up)
    [took], used = await under_load(world, [], seconds, ["bench.load", *map(str, numbers)])
    rate, share = took["requests"] / seconds, used.receiver_share
    return [
        Row(
            f"the receiver alone, {CONNECTIONS} connections of a bare client",
            absolute=f"{shown(rate)}/s, {share:.0%} of a core",
            cpu=f"receiver {share / rate * 1e6:.1f} µs a request",
            raw={"receiver": [Figure(rate, "/s", receiver_share=share)]},
        )
    ]
