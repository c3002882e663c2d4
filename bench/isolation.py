"""The latency of healthy webhooks beside one that hangs and one with a long backlog."""

import dataclasses
import statistics
from uuid import UUID, uuid4

from bench.database import Database
from bench.history import fill_log
from bench.measure import Figure, Row, Target, compared, interleave, shown
from bench.meter import Meter
from bench.sql import SQL
from bench.stream import latencies, latency_figure, write_at
from bench.world import World

HEALTHY = 100
RATE = 100
# The longest timeout that a webhook may have. A request that hangs does not end within a run, so no
# breaker counts it as a failure.
HANG_TIMEOUT_MS = 60_000
# The receiver of the backlog accepts everything, but slowly. So its breaker stays closed, and the
# backlog lasts for all runs.
SLOW_MS = 250


def backlog(world: World) -> int:
    return world.options.pick(1_000_000, 10_000)


async def _add_bad(world: World, database: Database) -> None:
    [hanging] = await database.add_webhooks(
        world.receiver.urls(1, "/hang"), locations=[uuid4()], timeout_ms=HANG_TIMEOUT_MS
    )
    [slow] = await database.add_webhooks(world.receiver.urls(1, f"/slow/{SLOW_MS}"), locations=[uuid4()])
    due = backlog(world)
    await fill_log(database, due)
    await SQL.fill_queue.execute(database.connection, webhook_id=slow, after=0)
    await SQL.fill_queue.execute(database.connection, webhook_id=hanging, after=due - due // 100)
    # Autovacuum would have done this long before there are so many rows.
    await database.connection.execute("vacuum analyze")


async def _stream(world: World, template: str, locations: list[UUID]) -> Figure:
    async with world.database(template) as database, world.relays(database, 2, RELAY_GRACE="0") as relays:
        await database.connection.execute("checkpoint")
        await world.receiver.reset()
        meter, before = Meter(world, relays), await SQL.ended.fetchval(database.connection)
        seconds, warm_up = world.options.pick(10, 1), world.options.warm_up
        committed = await write_at(database.url, SQL.write_event, RATE, seconds, warm_up, locations)
        values = await latencies(world, committed)
        used, after = meter.stop(), await SQL.ended.fetchval(database.connection)
    # Deliveries of the slow webhook cost as much as the others, and are many more.
    return dataclasses.replace(
        latency_figure(values), cpu=used.per_delivery(after - before), receiver_share=used.receiver_share
    )


async def scenario_isolation(world: World) -> list[Row]:
    # One for each of the healthy webhooks.
    locations = [uuid4() for _ in range(HEALTHY)]

    async def healthy(database: Database) -> None:
        await database.add_webhooks(world.receiver.urls(HEALTHY), locations=locations)

    async def beside_bad(database: Database) -> None:
        await healthy(database)
        await _add_bad(world, database)

    async with world.template(healthy) as alone, world.template(beside_bad) as beside:
        figures = await interleave(
            world.options.pairs,
            {
                "beside": lambda: _stream(world, beside, locations),
                "without those two": lambda: _stream(world, alone, locations),
            },
        )
    row = compared(
        f"p95 of {HEALTHY} healthy webhooks at {RATE}/s, beside one that hangs and one with {backlog(world):,} due rows",
        figures,
        "beside",
        "without those two",
        Target("at most", 1.5),
        of="p95",
    )
    row.absolute += f"; p50 {shown(statistics.median(figure.value for figure in figures['beside']))} ms"
    return [row]
