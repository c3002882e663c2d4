"""`python -m bench.writers URL WRITERS SECONDS WARM_UP RATE`: mutations over asyncpg, with one
connection for each writer.

With RATE 0, each writer goes on as fast as it can. Otherwise so many mutations begin each second,
in all, even if earlier ones have not ended. It prints when the measured seconds begin, and then the
number of commits in them, without those of the warm-up.
"""

import asyncio
import json
import random
import sys
import time
from uuid import UUID

import asyncpg
import uvloop

from bench.database import Connection
from bench.mutations import mutate


class Committed:
    """Counts the commits in the measured stretch."""

    def __init__(self, seconds: float, warm_up: float) -> None:
        self.begin = time.monotonic() + warm_up
        self.end = self.begin + seconds
        self.count = 0

    def add(self) -> None:
        self.count += self.begin <= time.monotonic() < self.end


async def closed(connections: list[Connection], items: list[UUID], actor: UUID, committed: Committed) -> None:
    async def write(connection: Connection) -> None:
        while time.monotonic() < committed.end:
            await mutate(connection, random.choice(items), actor)
            committed.add()

    await asyncio.gather(*(write(connection) for connection in connections))


async def opened(
    connections: list[Connection], items: list[UUID], actor: UUID, committed: Committed, rate: float
) -> None:
    free: asyncio.Queue[Connection] = asyncio.Queue()
    for connection in connections:
        free.put_nowait(connection)

    async def write(item_id: UUID) -> None:
        connection = await free.get()
        await mutate(connection, item_id, actor)
        committed.add()
        free.put_nowait(connection)

    started, number, tasks = time.monotonic(), 0, set[asyncio.Task[None]]()
    while (now := time.monotonic()) < committed.end:
        while started + number / rate <= now:
            task = asyncio.create_task(write(random.choice(items)))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            number += 1
        await asyncio.sleep(max(0.0, started + number / rate - time.monotonic()))
    await asyncio.gather(*tasks)


async def run(url: str, writers: int, seconds: float, warm_up: float, rate: float) -> None:
    connections = list(await asyncio.gather(*(asyncpg.connect(url) for _ in range(writers))))
    items = [row["id"] for row in await connections[0].fetch("select id from items")]
    actor = await connections[0].fetchval("select id from users limit 1")
    committed = Committed(seconds, warm_up)
    print(committed.begin, flush=True)
    if rate:
        await opened(connections, items, actor, committed, rate)
    else:
        await closed(connections, items, actor, committed)
    print(json.dumps({"commits": committed.count}), flush=True)
    for connection in connections:
        connection.terminate()


if __name__ == "__main__":
    url, writers, *numbers = sys.argv[1:]
    uvloop.run(run(url, int(writers), *map(float, numbers)))
