"""The references of the relay: scripts that do the bare minimum.

python -m bench.bare drain URL POSTMASTER BATCH COUNT WEBHOOK_ID…
    moves the same rows through the same tables, without HTTP

python -m bench.bare post URL RECEIVER_PORT
    listens, reads the row of each NOTIFY, and POSTs it
"""

import asyncio
import json
import os
import signal
import sys
import time
from uuid import UUID

import asyncpg
import uvloop

from bench import cpu
from bench.client import Client, post
from bench.sql import SQL
from service.platform.ids import new_id

_SENDERS = 64
_HEADERS = json.dumps(
    {
        "Content-Type": "application/json",
        "User-Agent": "Jossiedb-Webhooks/0.0.0",
        "X-Webhook-Signature": "[set]",
        "X-Webhook-ID": "0190b7c4-0000-7000-8000-000000000000",
        "X-Event-Type": "item-updated",
        "webhook-id": "0190b7c4-0000-7000-8000-000000000000",
        "webhook-timestamp": "1700000000",
        "webhook-signature": "[set]",
    }
)


async def drain(url: str, postmaster: int, batch: int, count: int, webhook_ids: list[UUID]) -> None:
    """Prints the seconds that it took, and the CPU seconds of the script and of PostgreSQL."""
    connection = await asyncpg.connect(url)
    relay_id = new_id()
    started, used, server_used = time.monotonic(), cpu.seconds([os.getpid()]), cpu.server_seconds(postmaster)
    done = turn = empty = 0
    while done < count:
        await SQL.bare_fan_out.execute(connection, batch=batch, webhook_ids=webhook_ids)
        webhook_id = webhook_ids[turn % len(webhook_ids)]
        turn += 1
        rows = await SQL.bare_claim.fetch(connection, webhook_id=webhook_id, relay_id=relay_id, batch=batch)
        if not rows:
            empty += 1
            if empty > 10 * len(webhook_ids):
                raise RuntimeError(f"nothing is due, and {done} of {count} are done")
            continue
        empty = 0
        keys = {
            "webhook_ids": [row["webhook_id"] for row in rows],
            "positions": [row["position"] for row in rows],
            "fences": [row["fence"] for row in rows],
        }
        await SQL.bare_complete.execute(connection, **keys)
        await SQL.bare_log.execute(
            connection,
            **keys,
            relay_id=relay_id,
            event_ids=[row["event_id"] for row in rows],
            event_types=[row["event_type"] for row in rows],
            event_ats=[row["event_at"] for row in rows],
            urls=["http://127.0.0.1:8080/hooks/0"] * len(rows),
            headers=[_HEADERS] * len(rows),
        )
        done += len(rows)
    print(
        json.dumps(
            {
                "elapsed": time.monotonic() - started,
                "relay": cpu.seconds([os.getpid()]) - used,
                "postgres": cpu.server_seconds(postmaster) - server_used,
            }
        ),
        flush=True,
    )
    await connection.close()


async def post_each(url: str, port: int) -> None:
    """Posts each event until SIGTERM. Prints a line when it listens."""
    wanted: asyncio.Queue[UUID] = asyncio.Queue()
    listener = await asyncpg.connect(url)
    pool = await asyncpg.create_pool(url, min_size=4, max_size=4)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)

    async def send() -> None:
        client = await Client.connect("127.0.0.1", port)
        while True:
            event_id = await wanted.get()
            row = await SQL.bare_read.fetchrow(pool, id=event_id)
            assert row is not None, "its row was committed with the NOTIFY"
            body = b'{"id":"%s","eventType":"%s","data":%s,"attempt":1}' % (
                str(event_id).encode(),
                row["type"].encode(),
                row["data"].encode(),
            )
            status, _ = await client.request(
                post("/bare", body, f"Content-Type: application/json\r\nwebhook-id: {event_id}\r\n")
            )
            assert status == 200, status

    senders = [asyncio.create_task(send()) for _ in range(_SENDERS)]
    await listener.add_listener("bench_bare", lambda *heard: wanted.put_nowait(UUID(str(heard[3]))))
    print("listening", flush=True)
    waiting = asyncio.create_task(ended.wait())
    done, _ = await asyncio.wait([waiting, *senders], return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()
    listener.terminate()
    pool.terminate()


def main() -> None:
    kind, url, *rest = sys.argv[1:]
    if kind == "drain":
        postmaster, batch, count, *webhook_ids = rest
        uvloop.run(drain(url, int(postmaster), int(batch), int(count), [UUID(id) for id in webhook_ids]))
    else:
        uvloop.run(post_each(url, int(rest[0])))


if __name__ == "__main__":
    main()
