"""`python -m bench.load PORT CONNECTIONS SECONDS WARM_UP [FILE]` sends requests, one at a time on
each connection, as fast as they are answered.

FILE is JSON with `items` (ids) and `tokens`. The requests change these items. Without a FILE,
deliveries are sent to the receiver. It prints when the measured seconds begin, and then the number
of requests that were answered in them and their median latency in ms.
"""

import asyncio
import json
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

import uvloop

from bench.client import Client, post
from bench.measure import percentile


def updates(file: Path) -> Callable[[int], bytes]:
    """Makes a connection's next request: another quantity for some item."""
    known = json.loads(file.read_text())

    def make(connection: int) -> bytes:
        token = known["tokens"][connection % len(known["tokens"])]
        return put(random.choice(known["items"]), token, random.randint(1, 1_000_000))

    return make


def put(item: str, token: str, quantity: int) -> bytes:
    """The request that sets an item's quantity."""
    body = b'{"quantity":%d}' % quantity
    return (
        f"PUT /api/v1/items/{item} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def deliveries() -> Callable[[int], bytes]:
    """Makes requests such as a receiver gets."""
    body = (
        b'{"id":"01a20e7a-0000-7000-8000-000000000000","eventType":"item-updated","data":{"a":"' + b"x" * 300 + b'"}}'
    )
    request = post("/0", body, "Content-Type: application/json\r\nwebhook-id: 01a20e7a-0000-7000-8000-000000000000\r\n")
    return lambda _connection: request


async def run(port: int, connections: int, seconds: float, warm_up: float, make: Callable[[int], bytes]) -> None:
    begin = time.monotonic() + warm_up
    end = begin + seconds
    print(begin, flush=True)
    times: list[float] = []

    async def ask(number: int) -> None:
        client = await Client.connect("127.0.0.1", port)
        while (sent := time.monotonic()) < end:
            status, body = await client.request(make(number))
            answered = time.monotonic()
            if status != 200:
                raise RuntimeError(f"{status}: {body[:300]!r}")
            if begin <= answered < end:
                times.append(answered - sent)
        client.close()

    await asyncio.gather(*(ask(number) for number in range(connections)))
    print(json.dumps({"requests": len(times), "p50": percentile(times, 0.5) * 1000}), flush=True)


def main() -> None:
    port, connections, seconds, warm_up, *file = sys.argv[1:]
    make = updates(Path(file[0])) if file else deliveries()
    uvloop.run(run(int(port), int(connections), float(seconds), float(warm_up), make))


if __name__ == "__main__":
    main()
