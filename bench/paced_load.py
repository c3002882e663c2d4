"""`python -m bench.paced_load PORT RATE SECONDS WARM_UP FILE` changes items at a fixed rate, even
if earlier calls have not been answered.

FILE is JSON with `items` (ids) and `tokens`. It prints an object with the monotonic second at which
each call began, by the item and its new quantity. The calls of the warm-up are left out.
"""

import asyncio
import json
import random
import sys
import time
from pathlib import Path

import uvloop

from bench.client import Client
from bench.load import put

_CONNECTIONS = 16


async def run(port: int, rate: float, seconds: float, warm_up: float, known: dict[str, list[str]]) -> dict[str, float]:
    clients: asyncio.Queue[Client] = asyncio.Queue()
    for _ in range(_CONNECTIONS):
        clients.put_nowait(await Client.connect("127.0.0.1", port))
    calls: dict[str, float] = {}

    async def call(number: int, *, counts: bool) -> None:
        item, token = random.choice(known["items"]), known["tokens"][number % len(known["tokens"])]
        # No two calls set the same quantity, and no item has it before.
        quantity = 1_000_000 + number
        begun = time.monotonic()
        client = await clients.get()
        status, body = await client.request(put(item, token, quantity))
        if status != 200:
            raise RuntimeError(f"{status}: {body[:300]!r}")
        clients.put_nowait(client)
        if counts:
            calls[f"{item} {quantity}"] = begun

    async with asyncio.TaskGroup() as tasks:
        started, number = time.monotonic(), 0
        while (due := number / rate) < seconds + warm_up:
            await asyncio.sleep(max(0.0, started + due - time.monotonic()))
            tasks.create_task(call(number, counts=due >= warm_up))
            number += 1
    return calls


def main() -> None:
    port, rate, seconds, warm_up, file = sys.argv[1:]
    calls = uvloop.run(run(int(port), float(rate), float(seconds), float(warm_up), json.loads(Path(file).read_text())))
    print(json.dumps(calls), flush=True)


if __name__ == "__main__":
    main()
