"""How fast a backlog is delivered: against a bare script, against aiohttp's client, and by one to
four relays."""

import json
import os
import statistics
from functools import partial
from uuid import UUID, uuid4

from bench.cpu import Cpu
from bench.database import Database
from bench.measure import Figure, Row, Target, compared, cpu_text, interleave, shown
from bench.meter import Meter
from bench.world import World

# The rows that the bare script moves in one statement.
BARE_BATCH = 200
# A core counts as used up from this share on.
_FULL = 0.85


async def subscribe(world: World, database: Database, receivers: int) -> tuple[list[UUID], list[UUID]]:
    """Add a webhook for each receiver. If there are several, each has a location of its own.
    Returns the webhooks' ids, and the locations."""
    if receivers == 1:
        return await database.add_webhooks(world.receiver.urls(1)), []
    locations = [uuid4() for _ in range(receivers)]
    return await database.add_webhooks(world.receiver.urls(receivers), locations=locations), locations


async def drain(
    world: World,
    database: Database,
    relays: list[int],
    locations: list[UUID],
    count: int,
    *,
    expected: int | None = None,
    over_http: bool = True,
) -> Figure:
    """Measure from the commit of so many events until the last result is recorded. `expected` is
    the number of deliveries, if it is not one an event."""
    await database.connection.execute("checkpoint")
    await world.receiver.reset()
    events, count = count, count if expected is None else expected
    meter = Meter(world, relays)
    async with database.connection.transaction():
        await database.write_events(events, locations)
        meter.start()
    if over_http:
        # Ask the receiver first, because that costs the database nothing.
        await world.receiver.until(count)
    await database.until_drained()
    used = meter.stop()
    sent_again = await world.receiver.count() - count if over_http else 0
    return Figure.rate(count, used, **_shares(used, len(relays)), sent_again=float(sent_again))


def _shares(used: Cpu, relays: int) -> dict[str, float]:
    """The cores that each relay, PostgreSQL and the receiver used, on average."""
    return {
        "relays": float(relays),
        "relay_cores": used.relay / used.elapsed / relays,
        "postgres_cores": used.postgres / used.elapsed,
        "receiver_cores": used.receiver / used.elapsed,
    }


async def fresh_drain(world: World, count: int, receivers: int, relays: int = 2, transport: str = "own") -> Figure:
    """A drain on a database of its own."""
    async with world.database() as database:
        _, locations = await subscribe(world, database, receivers)
        async with world.relays(database, relays, transport) as pids:
            return await drain(world, database, pids, locations, count)


async def bare_drain(world: World, count: int, receivers: int) -> Figure:
    async with world.database() as database:
        webhook_ids, _ = await subscribe(world, database, receivers)
        await database.write_events(count)
        took = json.loads(
            await world.output(
                "bench.bare",
                "drain",
                database.url,
                str(world.postmaster),
                str(BARE_BATCH),
                str(count),
                *map(str, webhook_ids),
            )
        )
    return Figure.rate(count, Cpu(took["relay"], took["postgres"], 0.0, took["elapsed"]))


async def scenario_drain(world: World) -> list[Row]:
    count = world.options.pick(50_000, 2_000)
    rows = []
    for receivers in (20,) if world.options.quick else (1, 20):
        figures = await interleave(
            world.options.pairs,
            {
                "own": partial(fresh_drain, world, count, receivers),
                "bare script": partial(bare_drain, world, count, receivers),
                "aiohttp": partial(fresh_drain, world, count, receivers, transport="aiohttp"),
            },
        )
        name = f"drain {count:,} events to {receivers} receiver{'s' if receivers > 1 else ''}, two relays"
        rows.append(compared(name, figures, "own", "bare script", Target("at least", 0.6)))
        rows.append(compared(name, figures, "own", "aiohttp", Target("at least", 1.5)))
    return rows


async def scenario_relays(world: World) -> list[Row]:
    counts = (1, 2) if world.options.quick else (1, 2, 4)
    count = world.options.pick(50_000, 2_000)
    figures = await interleave(
        world.options.pairs, {str(relays): partial(fresh_drain, world, count, 20, relays) for relays in counts}
    )
    rows = []
    for relays in counts[1:]:
        row = compared(f"drain by {relays} relays", figures, str(relays), "1", None)
        row.reference = "one relay"
        row.absolute += f"; {limit(figures[str(relays)])}"
        rows.append(row)
    one = Row(
        "drain by one relay",
        absolute=f"{shown(statistics.median(figure.value for figure in figures['1']))} /s; {limit(figures['1'])}",
        cpu=cpu_text(figures["1"]),
    )
    return [one, *rows]


def limit(figures: list[Figure]) -> str:
    """The bottleneck, as the cores that each process used on average show it."""
    relays, relay, postgres, receiver = (
        statistics.mean(figure.more[name] for figure in figures)
        for name in ("relays", "relay_cores", "postgres_cores", "receiver_cores")
    )
    if relay >= _FULL:
        what = "each relay's core"
    elif receiver >= _FULL:
        what = "the receiver"
    elif relays * relay + postgres + receiver >= _FULL * (os.cpu_count() or 1):
        what = "the machine's cores"
    else:
        what = "what they wait for: the disk, round trips, locks"
    return f"bound by {what} (cores: {relays:.0f} × {shown(relay)} relay, {shown(postgres)} PostgreSQL, {shown(receiver)} receiver)"
