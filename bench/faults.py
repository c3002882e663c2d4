"""What an idle relay costs, and how long the deliveries of a killed one are late."""

import asyncio
import os
import signal
import statistics
import time

from bench.drain import subscribe
from bench.measure import Figure, Row, Target, interleave, shown
from bench.sql import SQL
from bench.world import Meter, World

_TRIES = 3
_SETTLE_SECONDS = 0.2
_PATIENCE = 120.0


async def scenario_idle(world: World) -> list[Row]:
    """Transactions are read from another database, so that the look is not among them."""
    seconds, relays = world.options.pick(60, 5), 2
    async with world.database() as database:
        await subscribe(world, database, 1)
        admin = await world.admin()
        try:
            async with world.relays(database, relays) as pids:
                # A backend that is idle tells of its last transactions after up to 10 s; those of the start are to be told before.
                await asyncio.sleep(world.options.pick(11, 2))
                meter = Meter(world, pids)
                meter.start()
                before = await SQL.transactions.fetchval(admin, name=database.name)
                await asyncio.sleep(seconds)
                after = await SQL.transactions.fetchval(admin, name=database.name)
                used = meter.stop()
        finally:
            admin.terminate()
    rate = (after - before) / used.elapsed / relays
    figure = Figure(rate, "/s", more={"relay_cores": used.relay / used.elapsed / relays})
    return [
        Row(
            f"idle, {relays} relays, {seconds} s, all transactions",
            target=Target("at most", 2),
            judged=rate,
            absolute=f"{shown(rate)} transactions/s a relay, which takes {used.relay / used.elapsed / relays:.1%} of a core",
            raw={"idle": [figure]},
        )
    ]


async def _recovery(world: World, turn: int) -> Figure:
    """Seconds from kill -9 to the last of the deliveries that the relay held, recorded. The leader is killed every other time."""
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
            await database.write_events(count, locations)
            await world.receiver.until(count // 4)
            leading = await database.connection.fetchval("select pid from relays where leader")
            killed = leading if leader else next(pid for pid in relays if pid != leading)
            os.kill(killed, signal.SIGKILL)
            began = time.monotonic()
            # What it had sent to the server is still being done; what it holds after that, somebody else has to take over.
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
            seen = await world.receiver.count()
    return Figure(took, "s", more={"held": float(len(held)), "sent_again": float(seen - count)})


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
            raw={"kill -9": figures},
        )
    ]
