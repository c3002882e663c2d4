"""The latency of an owner's deliveries beside other owners whose receivers never answer."""

import asyncio
import time
from functools import partial
from uuid import UUID, uuid4

from bench.database import PATIENCE, TICK, Database
from bench.isolation import HANG_TIMEOUT_MS, HEALTHY, RATE
from bench.measure import Figure, Row, Target, compared, interleave
from bench.sql import SQL
from bench.stream import latencies, latency_figure, write_at
from bench.world import World
from service.platform.ids import new_id

# Of each hostile owner.
WEBHOOKS = 8
EVENTS = 75
RELAYS = 2
# At this number, both relays hold as many requests as one owner may have.
_HELD = RELAYS * 250


async def _stream(world: World, owners: int, locations: list[UUID]) -> Figure:
    """Latencies of an owner's deliveries while the requests of so many other owners hang."""
    async with world.database() as database:
        await database.add_webhooks(world.receiver.urls(HEALTHY), locations=locations)
        at = uuid4()
        for number in range(owners):
            owner_id = new_id()
            await SQL.add_user.execute(database.connection, id=owner_id, name=f"owner-{number}")
            await database.add_webhooks(
                world.receiver.urls(WEBHOOKS, f"/hang/{number}"),
                locations=[at] * WEBHOOKS,
                timeout_ms=HANG_TIMEOUT_MS,
                owner_id=owner_id,
            )
        await database.connection.execute("vacuum analyze")
        async with world.relays(database, RELAYS, RELAY_GRACE="0"):
            if owners:
                await database.write_events(EVENTS, [at])
                await _until_held(database)
            await world.receiver.reset()
            seconds, warm_up = world.options.pick(10, 1), world.options.warm_up
            committed = await write_at(database.url, SQL.write_event, RATE, seconds, warm_up, locations)
            values = await latencies(world, committed)
            held = await SQL.hanging.fetchval(database.connection)
    return latency_figure(values, held=float(held))


async def _until_held(database: Database) -> None:
    end = time.monotonic() + PATIENCE
    while await SQL.hanging.fetchval(database.connection) < _HELD:
        if time.monotonic() > end:
            raise TimeoutError("the relays do not hold what hangs")
        await asyncio.sleep(TICK)


async def scenario_hostile(world: World) -> list[Row]:
    # One for each of the healthy webhooks.
    locations = [uuid4() for _ in range(HEALTHY)]
    arms = {"without": 0, "one": 1, "50": 50}
    figures = await interleave(
        world.options.pairs, {name: partial(_stream, world, owners, locations) for name, owners in arms.items()}
    )
    return [
        compared(
            f"p95 of an owner's {HEALTHY} webhooks at {RATE}/s, beside {name} whose {WEBHOOKS} with {EVENTS} events never answer",
            figures,
            name,
            "without",
            Target("at most", 1.5),
            of="p95",
        )
        for name in ("one", "50")
    ]
