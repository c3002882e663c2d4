"""An open loop: events at a fixed rate, even if earlier ones have not arrived, and the time of each
from its commit to the receiver."""

import asyncio
import time
from collections.abc import Sequence
from uuid import UUID

import asyncpg

from bench.database import EVENT_TYPE, Connection
from bench.measure import Figure, percentile
from bench.world import World
from service.platform.ids import new_id
from service.platform.queries import Statement

_CONNECTIONS = 16
# How long the last events may take to arrive.
_TAIL_SECONDS = 20.0


def event_data(number: int, location_id: UUID | None) -> str:
    location = f'"{location_id}"' if location_id else "null"
    return (
        f'{{"itemId":"01a20e7a-0000-7000-8000-{number:012}","name":"Hydraulic “Pump” {number}","sku":"HP-{number}",'
        f'"quantity":{number},"location_id":{location},"category_id":null,'
        f'"changes":{{"quantity":{{"from":{number + 1},"to":{number}}}}}}}'
    )


async def write_at(
    url: str, statement: Statement, rate: float, seconds: float, warm_up: float, locations: Sequence[UUID] = ()
) -> dict[UUID, float]:
    """Insert events at this rate. Returns the monotonic second at which each writer got the reply
    to its commit, without the events of the warm-up."""
    pool: asyncio.Queue[Connection] = asyncio.Queue()
    connections = await asyncio.gather(*(asyncpg.connect(url) for _ in range(_CONNECTIONS)))
    for connection in connections:
        pool.put_nowait(connection)
    committed: dict[UUID, float] = {}

    async def write(number: int, *, counts: bool) -> None:
        connection = await pool.get()
        event_id = new_id()
        data = event_data(number, locations[number % len(locations)] if locations else None)
        await statement.execute(connection, id=event_id, event_type=EVENT_TYPE, data=data)
        if counts:
            committed[event_id] = time.monotonic()
        pool.put_nowait(connection)

    try:
        # A write that fails ends the loop.
        async with asyncio.TaskGroup() as tasks:
            started, number = time.monotonic(), 0
            while (due := number / rate) < seconds + warm_up:
                await asyncio.sleep(max(0.0, started + due - time.monotonic()))
                tasks.create_task(write(number, counts=due >= warm_up))
                number += 1
    finally:
        for connection in connections:
            connection.terminate()
    return committed


async def latencies(world: World, committed: dict[UUID, float]) -> list[float]:
    """Latencies in milliseconds, once all events have arrived. Raises TimeoutError if one does
    not."""
    end = time.monotonic() + _TAIL_SECONDS
    while missing := committed.keys() - (arrivals := await world.receiver.arrivals()).keys():
        if time.monotonic() > end:
            raise TimeoutError(f"{len(missing)} of {len(committed)} events did not arrive")
        await asyncio.sleep(0.2)
    # An event may arrive before its writer gets the reply to the commit.
    return [max(0.0, arrivals[event_id] - at) * 1000 for event_id, at in committed.items()]


def latency_figure(values: Sequence[float], **more: float) -> Figure:
    """The median, with the other percentiles."""
    p50, p95, p99 = (percentile(values, share) for share in (0.5, 0.95, 0.99))
    return Figure(p50, "ms", more={"p50": p50, "p95": p95, "p99": p99, "count": float(len(values)), **more})
