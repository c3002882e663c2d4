"""The time from commit to receiver at a fixed rate, against a script that LISTENs and POSTs."""

import dataclasses
from functools import partial

from bench.database import Database
from bench.measure import Figure, Row, Target, compared, interleave, shown
from bench.meter import Meter
from bench.sql import SQL
from bench.stream import latencies, latency_figure, write_at
from bench.world import World, first_line
from service.platform.queries import Statement

RATES = (200, 1000)


async def _stretch(world: World, database: Database, pids: list[int], statement: Statement, rate: int) -> Figure:
    """The CPU of a delivery counts everything that arrives, including the warm-up."""
    await world.receiver.reset()
    meter = Meter(world, pids)
    committed = await write_at(database.url, statement, rate, world.options.pick(8, 1), world.options.warm_up)
    values = await latencies(world, committed)
    used = meter.stop()
    seen = await world.receiver.count()
    return dataclasses.replace(latency_figure(values), cpu=used.per_delivery(seen), receiver_share=used.receiver_share)


async def _relay(world: World, rate: int) -> Figure:
    async with world.database() as database:
        await database.add_webhooks(world.receiver.urls(1))
        async with world.relays(database, 2) as relays:
            return await _stretch(world, database, relays, SQL.write_event, rate)


async def _bare(world: World, rate: int) -> Figure:
    async with world.database() as database:
        await SQL.bare_create.execute(database.connection)
        child = await world.children.start(
            "bare-post",
            "-m",
            "bench.bare",
            "post",
            database.url,
            str(world.receiver.port),
            environment=world.environment(database),
            read_output=True,
        )
        try:
            await first_line(child)
            return await _stretch(world, database, [child.process.pid], SQL.bare_write, rate)
        finally:
            await world.children.end(child)


async def scenario_latency(world: World) -> list[Row]:
    rows = []
    for rate in RATES[-1:] if world.options.quick else RATES:
        figures = await interleave(
            world.options.pairs, {"relay": partial(_relay, world, rate), "LISTEN + POST": partial(_bare, world, rate)}
        )
        name = f"commit → receiver at {rate:,}/s"
        for percent, target in (("p50", Target("at most", 3.5)), ("p95", Target("at most", 3.5)), ("p99", None)):
            row = compared(f"{name}, {percent}", figures, "relay", "LISTEN + POST", target, of=percent)
            rows.append(row)
        worst = max(figure.more["p99"] for figure in figures["relay"])
        rows[-1].absolute += f" (worst run {shown(worst)} ms)"
    return rows
