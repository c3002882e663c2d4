"""A drain with a long log, and with a transaction that keeps vacuum from cleaning up."""

import asyncio
import time

import asyncpg

from bench.database import EVENT_TYPE, Database
from bench.drain import drain, fresh_drain, subscribe
from bench.measure import Figure, Row, Target, compared, interleave
from bench.meter import Meter
from bench.sql import SQL
from bench.world import World

_CHUNK = 200_000
# The backlog that is kept up in a sustained drain, and the events that are added at once.
_BACKLOG, _ADDED = 6_000, 2_000


async def fill_log(database: Database, count: int) -> None:
    """Add so many events to the log."""
    for begun in range(0, count, _CHUNK):
        await SQL.fill_log.execute(database.connection, event_type=EVENT_TYPE, count=min(_CHUNK, count - begun))


async def scenario_history(world: World) -> list[Row]:
    count = world.options.pick(20_000, 2_000)
    rows = world.options.pick(2_000_000, 10_000)

    async def fill(database: Database) -> None:
        [webhook_id], _ = await subscribe(world, database, 1)
        await fill_log(database, rows // 2)
        await SQL.fill_attempts.execute(database.connection, webhook_id=webhook_id, after=0)
        # Autovacuum would have done this while the rows were written.
        await database.connection.execute("vacuum analyze")

    async with world.template(fill) as template:

        async def with_history() -> Figure:
            async with world.database(template) as database, world.relays(database, 2) as relays:
                return await drain(world, database, relays, [], count)

        figures = await interleave(
            world.options.pairs, {"history": with_history, "an empty log": lambda: fresh_drain(world, count, 1)}
        )
    name = f"drain {count:,} events with {rows:,} rows of history"
    return [compared(name, figures, "history", "an empty log", Target("at least", 0.9))]


async def _sustained(world: World, seconds: int, *, hold: bool) -> Figure:
    """Deliveries a second while the backlog is kept up. With `hold`, a transaction with a snapshot
    is open from the start."""
    async with world.database() as database:
        await subscribe(world, database, 1)
        holder = await asyncpg.connect(database.url) if hold else None
        try:
            if holder is not None:
                await holder.execute("begin isolation level repeatable read; select from deliveries limit 1")
            async with world.relays(database, 2) as relays:
                await world.receiver.reset()
                meter = Meter(world, relays)
                meter.start()
                written = 0
                end = time.monotonic() + seconds
                while time.monotonic() < end:
                    if written - await world.receiver.count() < _BACKLOG - _ADDED:
                        await database.write_events(_ADDED)
                        written += _ADDED
                    await asyncio.sleep(0.02)
                used = meter.stop()
                seen = await world.receiver.count()
        finally:
            if holder is not None:
                holder.terminate()
    return Figure.rate(seen, used)


async def scenario_open_transaction(world: World) -> list[Row]:
    seconds, reference_seconds = world.options.pick(60, 1), world.options.pick(20, 1)
    figures = await interleave(
        world.options.pairs,
        {
            "open": lambda: _sustained(world, seconds, hold=True),
            "none open": lambda: _sustained(world, reference_seconds, hold=False),
        },
    )
    name = f"sustained drain with a transaction open for {seconds} s"
    return [compared(name, figures, "open", "none open", Target("at least", 0.35))]
