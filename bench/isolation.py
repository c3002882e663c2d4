"""Whether healthy webhooks feel one that hangs, and one with a long backlog."""

import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

from bench.history import fill_log
from bench.measure import Figure, Row, Target, compared, interleave, shown
from bench.sql import SQL
from bench.stream import latencies, latency_figure, write_at
from bench.world import Database, Meter, World

HEALTHY = 100
RATE = 100
# The longest that a webhook may have: what hangs does not end, so it is no failure yet that a breaker would count.
HANG_TIMEOUT_MS = 60_000
# The backlog's receiver accepts everything, slowly: neither opens its breaker, nor is it done within the runs.
SLOW_MS = 250


@asynccontextmanager
async def _healthy(world: World) -> AsyncIterator[tuple[Database, list[UUID]]]:
    """A database with the healthy webhooks, one for each of the locations."""
    async with world.database() as database:
        locations = [uuid4() for _ in range(HEALTHY)]
        await database.add_webhooks(world.receiver.urls(HEALTHY), locations=locations)
        yield database, locations


def backlog(world: World) -> int:
    return world.options.pick(1_000_000, 20_000)


async def _add_bad(world: World, database: Database) -> None:
    [hanging] = await database.add_webhooks(
        world.receiver.urls(1, "/hang"), locations=[uuid4()], timeout_ms=HANG_TIMEOUT_MS
    )
    [slow] = await database.add_webhooks(world.receiver.urls(1, f"/slow/{SLOW_MS}"), locations=[uuid4()])
    due = backlog(world)
    await fill_log(database, due)
    await SQL.fill_queue.execute(database.connection, webhook_id=slow, after=0)
    await SQL.fill_queue.execute(database.connection, webhook_id=hanging, after=due - 10_000)
    # As autovacuum would have done long before there are so many.
    await database.connection.execute("vacuum analyze")


async def _stream(world: World, database: Database, locations: list[UUID]) -> Figure:
    async with world.relays(database, 2, RELAY_GRACE="0") as relays:
        await database.connection.execute("checkpoint")
        await world.receiver.reset()
        meter = Meter(world, relays)
        meter.start()
        committed = await write_at(database.url, SQL.write_event, RATE, world.options.pick(10, 2), locations)
        values = await latencies(world, committed)
        used = meter.stop()
    return dataclasses.replace(latency_figure(values), receiver_share=used.receiver_share)


async def scenario_isolation(world: World) -> list[Row]:
    async with _healthy(world) as (alone, places), _healthy(world) as (beside, others):
        await _add_bad(world, beside)
        figures = await interleave(
            world.options.pairs,
            {
                "beside": lambda: _stream(world, beside, others),
                "without those two": lambda: _stream(world, alone, places),
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
    row.absolute += f"; p50 {shown(figures['beside'][-1].more['p50'])} ms"
    return [row]
