"""Many webhooks: finding the few that an event is for, and telling all of them of one."""

import statistics
import time
from uuid import uuid4

from bench.drain import drain
from bench.measure import Figure, Row, Target, compared, interleave
from bench.world import World
from relay.fanout import FanOut
from service.platform.db import open_pool

MATCHES = 10


async def _fan_out(world: World, webhooks: int) -> Figure:
    """The leader's statements for one event, in this process: the median time of some hundred events, one after the other."""
    rounds = world.options.pick(300, 30)
    async with world.database() as database:
        places = [uuid4() for _ in range(webhooks // MATCHES)]
        await database.add_webhooks(
            world.receiver.urls(webhooks), locations=[places[number % len(places)] for number in range(webhooks)]
        )
        # As autovacuum would have done by the time that there are so many.
        await database.connection.execute("analyze webhooks, subscriptions")
        pool = await open_pool(database.url, application_name="bench", size=2)
        try:
            fan_out, times = FanOut(pool), []
            for _ in range(rounds):
                await database.write_events(1, places[:1])
                started = time.perf_counter()
                batch = await fan_out.batch()
                times.append((time.perf_counter() - started) * 1000)
                if batch.deliveries != MATCHES:
                    raise RuntimeError(f"{batch.deliveries} webhooks matched, not {MATCHES}")
        finally:
            pool.terminate()
    # The first few build plans.
    return Figure(statistics.median(times[10:]), "ms")


async def scenario_fanout(world: World) -> list[Row]:
    many = world.options.pick(10_000, 1_000)
    figures = await interleave(
        world.options.pairs,
        {"many": lambda: _fan_out(world, many), "10 webhooks": lambda: _fan_out(world, MATCHES)},
    )
    return [
        compared(
            f"fan-out of one event, {many:,} webhooks of which {MATCHES} match",
            figures,
            "many",
            "10 webhooks",
            Target("at most", 1.25),
        )
    ]


async def _deliver(world: World, webhooks: int, events: int) -> Figure:
    """Microseconds a delivery."""
    async with world.database() as database:
        await database.add_webhooks(world.receiver.urls(webhooks))
        await database.connection.execute("analyze webhooks, subscriptions")
        async with world.relays(database, 2) as relays:
            figure = await drain(world, database, relays, [], events, expected=webhooks * events)
    return Figure(1e6 / figure.value, "µs", figure.cpu, figure.receiver_share, figure.more)


async def scenario_wide(world: World) -> list[Row]:
    many = world.options.pick(10_000, 1_000)
    figures = await interleave(
        world.options.pairs,
        {"wide": lambda: _deliver(world, many, 1), f"one webhook, {many:,} events": lambda: _deliver(world, 1, many)},
    )
    return [
        compared(
            f"one event to {many:,} webhooks, per delivery",
            figures,
            "wide",
            f"one webhook, {many:,} events",
            Target("at most", 1.0),
        )
    ]
