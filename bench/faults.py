"""The cost of an idle relay, and the delay of the deliveries that a killed relay held."""

import asyncio
import dataclasses
import os
import signal
import statistics
import time
from contextlib import AsyncExitStack

from bench import cpu
from bench.drain import subscribe
from bench.measure import Figure, Row, Target, cpu_text, interleave, shown
from bench.meter import Meter
from bench.sql import SQL
from bench.world import World

_TRIES = 3
_SETTLE_SECONDS = 0.2
_PATIENCE = 120.0


async def scenario_idle(world: World) -> list[Row]:
    """All rounds run at once, each on a database of its own. Idle relays take nothing from each
    other.

    Transactions are read from another database, so that the reading is not counted.
    """
    seconds, relays = world.options.pick(60, 2), 2
    async with AsyncExitStack() as stack:
        admin = await world.admin()
        stack.callback(admin.terminate)
        pairs: dict[str, list[int]] = {}
        for _ in range(world.options.pairs):
            database = await stack.enter_async_context(world.database())
            await subscribe(world, database, 1)
            pairs[database.name] = await stack.enter_async_context(world.relays(database, relays))
        # An idle backend reports its last transactions after up to 10 s. Wait until those of the
        # start have been reported.
        await asyncio.sleep(world.options.pick(11, 1))
        meter = Meter(world, [pid for pids in pairs.values() for pid in pids])
        before = [await SQL.transactions.fetchval(admin, name=name) for name in pairs]
        await asyncio.sleep(seconds)
        after = [await SQL.transactions.fetchval(admin, name=name) for name in pairs]
        used = meter.stop()
    rates = [(late - early) / used.elapsed / relays for early, late in zip(before, after, strict=True)]
    # Ticks of 10 ms are too coarse for one relay, so this is the mean of all relays.
    relay, server = (taken / used.elapsed / relays / len(pairs) for taken in (used.relay, used.postgres))
    return [
        Row(
            f"idle, {relays} relays, {seconds} s, all transactions",
            target=Target("at most", 2),
            judged=max(rates),
            absolute=f"transactions/s a relay: median {shown(statistics.median(rates))}, worst {shown(max(rates))}",
            cpu=f"relay {relay:.2%} + PostgreSQL {server:.2%} of a core for each relay",
            raw={"idle": [Figure(rate, "/s", more={"relay_cores": relay, "postgres_cores": server}) for rate in rates]},
        )
    ]


async def _recovery(world: World, turn: int) -> Figure:
    """Seconds from kill -9 until the last delivery that the relay held is recorded. Every other
    time the leader is killed."""
    for _ in range(_TRIES):
        figure = await _kill_one(world, leader=turn % 2 == 0)
        if figure.more["held"]:
            return figure
    raise RuntimeError(f"the killed relay held nothing, {_TRIES} times")


async def _kill_one(world: World, *, leader: bool) -> Figure:
    count = world.options.pick(20_000, 2_000)
    async with world.database() as database:
        _, locations = await subscribe(world, database, 20)
        async with world.relays(database, 2) as relays:
            await world.receiver.reset()
            meter = Meter(world, relays)
            await database.write_events(count, locations)
            await world.receiver.until(count // 4)
            leading = await database.connection.fetchval("select pid from relays where leader")
            killed = leading if leader else next(pid for pid in relays if pid != leading)
            lost = cpu.seconds([killed])
            os.kill(killed, signal.SIGKILL)
            began = time.monotonic()
            # The server still runs the statements that it had received. Afterwards, another relay
            # has to take over the leases that are left.
            await asyncio.sleep(_SETTLE_SECONDS)
            held = await SQL.held_by.fetch(database.connection, pid=killed)
            keys = {
                "webhook_ids": [row["webhook_id"] for row in held],
                "positions": [row["position"] for row in held],
            }
            while await SQL.still_owed.fetchval(database.connection, **keys):
                if time.monotonic() - began > _PATIENCE:
                    raise TimeoutError(f"what a killed relay held did not arrive within {_PATIENCE:.0f} s")
                await asyncio.sleep(0.02)
            took = time.monotonic() - began
            await database.until_drained()
            used = meter.stop()
            seen = await world.receiver.count()
    # The CPU of the killed relay can no longer be read from /proc.
    used = dataclasses.replace(used, relay=used.relay + lost)
    return Figure(
        took,
        "s",
        used.per_delivery(count),
        used.receiver_share,
        more={"held": float(len(held)), "sent_again": float(seen - count)},
    )


async def scenario_recovery(world: World) -> list[Row]:
    turns = iter(range(world.options.pairs))
    figures = (await interleave(world.options.pairs, {"kill -9": lambda: _recovery(world, next(turns))}))["kill -9"]
    times = [figure.value for figure in figures]
    worst = max(times)
    return [
        Row(
            "kill -9 of one of two relays in mid drain, until what it held has arrived",
            target=Target("at most", 5),
            judged=worst,
            absolute=(
                f"seconds: median {shown(statistics.median(times))}, worst {shown(worst)}; "
                f"held {', '.join(str(int(figure.more['held'])) for figure in figures)}"
            ),
            cpu=cpu_text(figures),
            raw={"kill -9": figures},
        )
    ]
