"""The cost of the outbox for a writer, and how often writers have to ring."""

import statistics
from collections import Counter
from functools import partial
from typing import Any, Literal

import asyncpg

from bench.cpu import Cpu
from bench.database import Database
from bench.measure import Figure, Row, Target, compared, cpu_text, interleave, shown
from bench.meter import Meter, under_load
from bench.sql import SQL
from bench.world import World
from relay.lead.doorbell import WAKE_CHANNEL, WORK_CHANNEL

WRITERS = 64
# Two, because one Python process cannot write as fast as the server commits.
PROCESSES = 2
ITEMS = 10_000
Trigger = Literal["doorbell", "off", "NOTIFY"]


async def _write(
    world: World, database: Database, relays: list[int], writers: int, processes: int, seconds: float, rate: float
) -> tuple[float, Cpu]:
    """Mutations committed a second, and the CPU that relays and PostgreSQL used meanwhile."""
    numbers = (writers // processes, seconds, world.options.warm_up, rate / processes)
    command = ["bench.writers", database.url, *map(str, numbers)]
    printed, used = await under_load(world, relays, seconds, *[command] * processes)
    return sum(each["commits"] for each in printed) / seconds, used


async def _commits(world: World, trigger: Trigger) -> Figure:
    async with world.database() as database:
        await SQL.add_items.fetch(database.connection, count=ITEMS)
        await database.add_webhooks(world.receiver.urls(1))
        if trigger != "doorbell":
            await SQL.disable_ring.execute(database.connection)
        if trigger == "NOTIFY":
            await SQL.make_notify_function.execute(database.connection)
            await SQL.make_notify_trigger.execute(database.connection)
        # If nobody rings, only the poll wakes the relays. Relays that sleep would make the
        # reference too fast.
        async with world.relays(database, 2, "instant", RELAY_POLL_INTERVAL="100") as relays:
            rate, used = await _write(world, database, relays, WRITERS, PROCESSES, world.options.pick(6, 1), 0)
    return Figure(
        rate, "/s", used.per_delivery(rate * used.elapsed), more={"relay_cores": used.relay / used.elapsed / 2}
    )


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
    rows = [
        compared(name, figures, "doorbell", "outbox trigger off", Target("at least", 0.85)),
        compared(
            f"{name}: NOTIFY in each transaction", figures, "NOTIFY in each transaction", "outbox trigger off", None
        ),
    ]
    rows[0].cpu = cpu_text(figures["doorbell"], per="a mutation")
    rows[1].cpu = cpu_text(figures["NOTIFY in each transaction"], per="a mutation")
    return rows


async def _rings(world: World, rate: int, relays: int) -> Figure:
    """NOTIFYs a commit, and wakes an event, counted by a listener of the benchmark."""
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
                # Every commit counts here, so the warm-up does, too.
                measured, _ = await _write(world, database, pids, 32, 1, world.options.pick(4, 1), rate)
                await database.until_drained()
                used = meter.stop()
                commits = await world.receiver.count()
                row = await SQL.relays.fetchrow(database.connection)
            finally:
                listener.terminate()
    assert row is not None, "an aggregate gives a row"
    notifies = heard[WAKE_CHANNEL] / max(commits, 1)
    # A NOTIFY on the work channel wakes every relay but its sender.
    wakes = (heard[WAKE_CHANNEL] + heard[WORK_CHANNEL] * (relays - 1)) / max(commits, 1)
    return Figure(
        notifies,
        "NOTIFYs a commit",
        used.per_delivery(commits),
        used.receiver_share,
        more={"wakes": wakes, "poll_wakes": float(row["poll_wakes"]), "rate": measured},
    )


def _doorbell_row(name: str, figures: list[Figure], warm_up: float) -> Row:
    """Judged by all runs together: none of them may have a wake by the poll."""
    by_poll = sum(figure.more["poll_wakes"] for figure in figures)
    notifies = statistics.median(figure.value for figure in figures)
    wakes, rate = (statistics.median(figure.more[part] for figure in figures) for part in ("wakes", "rate"))
    return Row(
        f"doorbell: {name}",
        target=Target("at most", 0),
        judged=by_poll,
        absolute=(
            f"{shown(notifies)} NOTIFYs a commit, {shown(wakes)} wakes an event, {by_poll:.0f} by the poll "
            f"(at {shown(rate)}/s, after {warm_up:g} s)"
        ),
        cpu=cpu_text(figures),
        raw={"doorbell": figures},
    )


async def scenario_doorbell(world: World) -> list[Row]:
    counts, rates = ((2,), (50, 1000)) if world.options.quick else ((2, 4), (50, 200, 1000))
    arms = {f"{rate:,}/s, {relays} relays": partial(_rings, world, rate, relays) for relays in counts for rate in rates}
    figures = await interleave(world.options.pairs, arms)
    return [_doorbell_row(name, figures[name], world.options.warm_up) for name in arms]
