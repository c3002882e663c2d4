"""From the commit to the receiver, at a fixed rate, beside a script that LISTENs and POSTs."""

import asyncio
import dataclasses
from functools import partial

from bench.measure import Figure, Row, Target, compared, interleave, shown
from bench.sql import SQL
from bench.stream import latencies, latency_figure, write_at
from bench.world import Meter, World

RATES = (200, 1000)


async def _relay(world: World, rate: int) -> Figure:
    async with world.database() as database:
        await database.add_webhooks(world.receiver.urls(1))
        async with world.relays(database, 2) as relays:
            await world.receiver.reset()
            meter = Meter(world, relays)
            meter.start()
            committed = await write_at(database.url, SQL.write_event, rate, world.options.pick(8, 1))
            values = await latencies(world, committed)
            used = meter.stop()
            seen = await world.receiver.count()
    return dataclasses.replace(latency_figure(values), cpu=used.per_delivery(seen), receiver_share=used.receiver_share)


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
            assert child.process.stdout is not None
            if not await asyncio.wait_for(child.process.stdout.readline(), 30):
                raise RuntimeError(f"the bare script ended: {child.log.read_text()[-2000:]}")
            await world.receiver.reset()
            committed = await write_at(database.url, SQL.bare_write, rate, world.options.pick(8, 1))
            values = await latencies(world, committed)
        finally:
            await world.children.end(child)
    return latency_figure(values)


async def scenario_latency(world: World) -> list[Row]:
    rows = []
    for rate in RATES:
        figures = await interleave(
            world.options.pairs, {"relay": partial(_relay, world, rate), "LISTEN + POST": partial(_bare, world, rate)}
        )
        name = f"commit → receiver at {rate:,}/s"
        for percent, target in (("p50", Target("at most", 2)), ("p95", Target("at most", 3)), ("p99", None)):
            row = compared(f"{name}, {percent}", figures, "relay", "LISTEN + POST", target, of=percent)
            rows.append(row)
        worst = max(figure.more["p99"] for figure in figures["relay"])
        rows[-1].absolute += f" (worst run {shown(worst)} ms)"
    return rows
