"""What the outbox costs a writer, and how often writers have to ring."""

import asyncio
import json
from collections import Counter
from typing import Any, Literal

import asyncpg

from bench.measure import Figure, Row, Target, compared, interleave, shown
from bench.sql import SQL
from bench.world import Database, Meter, World
from bench.writers import WARM_UP_SECONDS
from relay.doorbell import WAKE_CHANNEL, WORK_CHANNEL

WRITERS = 64
# Two, because one Python process cannot write as fast as the server commits.
PROCESSES = 2
ITEMS = 10_000
Trigger = Literal["doorbell", "off", "NOTIFY"]


async def _write(world: World, database: Database, writers: int, processes: int, seconds: int, rate: float) -> int:
    """Mutations committed in the measured seconds."""
    outputs = await asyncio.gather(
        *(
            world.script("bench.writers", database.url, str(writers // processes), str(seconds), str(rate / processes))
            for _ in range(processes)
        )
    )
    return sum(json.loads(output)["commits"] for output in outputs)


async def _commits(world: World, trigger: Trigger) -> Figure:
    seconds = world.options.pick(6, 2)
    async with world.database() as database:
        await SQL.add_items.fetch(database.connection, count=ITEMS)
        await database.add_webhooks(world.receiver.urls(1))
        if trigger != "doorbell":
            await SQL.disable_ring.execute(database.connection)
        if trigger == "NOTIFY":
            await SQL.make_notify_function.execute(database.connection)
            await SQL.make_notify_trigger.execute(database.connection)
        # Where nobody rings, the poll has to wake them: relays that sleep would make the reference too fast.
        async with world.relays(database, 2, "instant", RELAY_POLL_INTERVAL="100") as relays:
            meter = Meter(world, relays)
            meter.start()
            commits = await _write(world, database, WRITERS, PROCESSES, seconds, 0)
            used = meter.stop()
    # The writers' start and first second are in the CPU, so a share of it would be too much: none is shown.
    return Figure(commits / seconds, "/s", more={"relay_cores": used.relay / used.elapsed / 2})


async def scenario_commits(world: World) -> list[Row]:
    figures = await interleave(
        world.options.pairs,
        {
            "doorbell": lambda: _commits(world, "doorbell"),
            "outbox trigger off": lambda: _commits(world, "off"),
            "NOTIFY in each transaction": lambda: _commits(world, "NOTIFY"),
        },
    )
    name = f"commits/s of mutations, {WRITERS} writers, two relays"
    return [
        compared(name, figures, "doorbell", "outbox trigger off", Target("at least", 0.85)),
        compared(
            f"{name}: NOTIFY in each transaction", figures, "NOTIFY in each transaction", "outbox trigger off", None
        ),
    ]


async def _rings(world: World, rate: int, relays: int) -> Row:
    """How many NOTIFYs a commit causes, and how many wakes an event, counted by a listener of our own."""
    seconds = world.options.pick(8, 2)
    async with world.database() as database:
        await SQL.add_items.fetch(database.connection, count=ITEMS)
        await database.add_webhooks(world.receiver.urls(1))
        heard: Counter[str] = Counter()

        def hear(_connection: Any, _pid: int, channel: str, _payload: object) -> None:
            heard[channel] += 1

        async with world.relays(database, relays) as pids:
            listener = await asyncpg.connect(database.url)
            try:
                for channel in (WAKE_CHANNEL, WORK_CHANNEL):
                    await listener.add_listener(channel, hear)
                await world.receiver.reset()
                meter = Meter(world, pids)
                meter.start()
                # All that is committed counts here, so the warm-up does too.
                measured = await _write(world, database, 32, 1, seconds, rate)
                await database.until_drained()
                used = meter.stop()
                commits = await world.receiver.count()
                row = await SQL.relays.fetchrow(database.connection)
            finally:
                listener.terminate()
    assert row is not None, "an aggregate gives a row"
    notifies = heard[WAKE_CHANNEL] / max(commits, 1)
    # A NOTIFY of work wakes every relay but its sender.
    wakes = (heard[WAKE_CHANNEL] + heard[WORK_CHANNEL] * (relays - 1)) / max(commits, 1)
    figure = Figure(
        notifies, "NOTIFYs a commit", used.per_delivery(commits), more={"wakes": wakes, "rate": measured / seconds}
    )
    return Row(
        f"doorbell: {rate:,}/s, {relays} relays",
        target=Target("at most", 0),
        judged=float(row["poll_wakes"]),
        absolute=(
            f"{shown(notifies)} NOTIFYs a commit, {shown(wakes)} wakes an event, {row['poll_wakes']} by the poll "
            f"(at {shown(measured / seconds)}/s, after {WARM_UP_SECONDS:.0f} s)"
        ),
        cpu=f"relay {figure.cpu.get('relay_us', 0):.0f} + PostgreSQL {figure.cpu.get('postgres_us', 0):.0f} µs",
        raw={"doorbell": [figure]},
    )


async def scenario_doorbell(world: World) -> list[Row]:
    counts, rates = ((2,), (50, 1000)) if world.options.quick else ((2, 4), (50, 200, 1000))
    return [await _rings(world, rate, relays) for relays in counts for rate in rates]
