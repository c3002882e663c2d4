"""Many webhooks: an event that only a few of them want, and an event that all of them want."""

import statistics
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from uuid import UUID, uuid4

from bench import cpu
from bench.database import Database
from bench.drain import drain
from bench.measure import Figure, Row, Target, compared, cpu_text, interleave
from bench.world import World
from relay.lead.fanout import FanOut
from relay.watch.database import open_queues

MATCHES = 10


async def _fan_out(world: World, template: str, places: Sequence[UUID]) -> Figure:
    """The leader's statements for one event, in this process. The figure is the median time of some
    hundred events, one after the other."""
    rounds = world.options.pick(300, 30)
    async with world.database(template) as database:
        # A pool with a relay's settings of the planner.
        pool = await open_queues(database.url)
        # The CPU of the server without the backend that writes the events.
        writer = [database.connection.get_server_pid()]
        started = cpu.server_seconds(world.postmaster) - cpu.seconds(writer)
        own = 0.0
        try:
            fan_out, times = FanOut(pool), []
            for _ in range(rounds):
                await database.write_events(1, places[:1])
                began, own_began = time.perf_counter(), time.process_time()
                batch = await fan_out.batch()
                times.append((time.perf_counter() - began) * 1000)
                own += time.process_time() - own_began
                if batch.deliveries != MATCHES:
                    raise RuntimeError(f"{batch.deliveries} webhooks matched, not {MATCHES}")
            server = cpu.server_seconds(world.postmaster) - cpu.seconds(writer) - started
        finally:
            pool.terminate()
    used = cpu.Cpu(own, server, 0.0, sum(times) / 1000)
    # The first few events also build plans.
    return Figure(statistics.median(times[10:]), "ms", used.per_delivery(rounds))


@asynccontextmanager
async def _webhooks(world: World, count: int, places: Sequence[UUID] = ()) -> AsyncIterator[str]:
    """A template with so many webhooks, at these locations in turn."""
    locations = [places[number % len(places)] for number in range(count)] if places else None

    async def fill(database: Database) -> None:
        await database.add_webhooks(world.receiver.urls(count), locations=locations)
        # Autovacuum would have done this before there are so many rows.
        await database.connection.execute("analyze webhooks, subscriptions")

    async with world.template(fill) as template:
        yield template


async def scenario_fanout(world: World) -> list[Row]:
    many = world.options.pick(10_000, 1_000)
    places = [uuid4() for _ in range(many // MATCHES)]
    async with _webhooks(world, many, places) as of_many, _webhooks(world, MATCHES, places[:1]) as of_few:
        figures = await interleave(
            world.options.pairs,
            {
                "many": lambda: _fan_out(world, of_many, places),
                f"{MATCHES} webhooks": lambda: _fan_out(world, of_few, places),
            },
        )
    row = compared(
        f"fan-out of one event, {many:,} webhooks of which {MATCHES} match",
        figures,
        "many",
        f"{MATCHES} webhooks",
        Target("at most", 1.25),
    )
    row.cpu = cpu_text(figures["many"], process="leader", per="an event")
    return [row]


async def _deliver(world: World, template: str, events: int, expected: int, times: int) -> Figure:
    """Microseconds a delivery, in the last of so many drains."""
    async with world.database(template) as database, world.relays(database, 2) as relays:
        for _ in range(times - 1):
            await drain(world, database, relays, [], events, expected=expected)
        figure = await drain(world, database, relays, [], events, expected=expected)
    return Figure(1e6 / figure.value, "µs", figure.cpu, figure.receiver_share, figure.more)


async def scenario_wide(world: World) -> list[Row]:
    many = world.options.pick(10_000, 1_000)
    narrow = f"one webhook, {many:,} events"
    rows = []
    async with _webhooks(world, many) as of_many, _webhooks(world, 1) as of_one:
        for times, who in ((1, "by relays that have just started"), (2, "by relays that have sent before")):
            figures = await interleave(
                world.options.pairs,
                {
                    "wide": partial(_deliver, world, of_many, 1, many, times),
                    narrow: partial(_deliver, world, of_one, many, many, times),
                },
            )
            name = f"one event to {many:,} webhooks, per delivery, {who}"
            rows.append(compared(name, figures, "wide", narrow, Target("at most", 1.15)))
    return rows
