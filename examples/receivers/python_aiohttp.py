"""An example receiver on aiohttp. It verifies each delivery and answers at once. It does the work
afterwards, once for each event.

    pip install aiohttp
    WEBHOOK_SECRET=whsec_... PORT=8080 python examples/receivers/python_aiohttp.py

It prints its address, and then one JSON line for each request. PORT=0, the default, takes a free
port.
"""

import asyncio
import base64
import hashlib
import hmac
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

from aiohttp import web

TOLERANCE_SECONDS = 300
# A body has at most 64 KiB.
MAX_BODY_BYTES = 64 * 1024
SECRET = web.AppKey("secret", str)
QUEUE = web.AppKey("queue", "asyncio.Queue[dict[str, Any]]")


def verify(secret: str, headers: Mapping[str, str], raw: bytes) -> bool:
    """The signature of Standard Webhooks, over id, time and the whole body.

    The key is the secret. If the secret begins with whsec_, the key is the decoded base64 after it.
    """
    stamp = headers.get("webhook-timestamp", "")
    # Refuse an old request, which somebody may have recorded and sent again.
    if not stamp.isdecimal() or abs(time.time() - int(stamp)) > TOLERANCE_SECONDS:
        return False
    key = base64.b64decode(secret[6:]) if secret.startswith("whsec_") else secret.encode()
    signed = f"{headers.get('webhook-id', '')}.{stamp}.".encode() + raw
    expected = "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    # While a secret is rotated, there are two signatures, separated by a space.
    given = headers.get("webhook-signature", "").split()
    return any(hmac.compare_digest(one.encode(), expected.encode()) for one in given)


async def receive(request: web.Request) -> web.Response:
    raw = await request.read()
    if not verify(request.app[SECRET], request.headers, raw):
        return web.json_response({"error": "Invalid"}, status=401)
    # A real receiver writes the event into a table or a queue of its own before it answers. An
    # event that was answered with 2xx is not sent again.
    request.app[QUEUE].put_nowait(json.loads(raw))
    return web.json_response({"received": True})


async def work(app: web.Application) -> AsyncIterator[None]:
    async def handle_events() -> None:
        processed: set[str] = set()
        while True:
            event = await app[QUEUE].get()
            # An event may arrive twice. It has the same id then.
            duplicate = event["id"] in processed
            processed.add(event["id"])
            say(event | {"duplicate": duplicate})

    app[QUEUE] = asyncio.Queue()
    task = asyncio.create_task(handle_events())
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def say(line: dict[str, Any]) -> None:
    print(json.dumps(line, ensure_ascii=False), flush=True)


async def main(secret: str, port: int) -> None:
    app = web.Application(client_max_size=MAX_BODY_BYTES)
    app[SECRET] = secret
    app.cleanup_ctx.append(work)
    app.router.add_post("/", receive)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        say({"listening": f"http://127.0.0.1:{runner.addresses[0][1]}/"})
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    if not os.environ.get("WEBHOOK_SECRET"):
        sys.exit("set WEBHOOK_SECRET to the secret that creating the webhook answered with")
    try:
        asyncio.run(main(os.environ["WEBHOOK_SECRET"], int(os.environ.get("PORT", "0"))))
    except KeyboardInterrupt:
        pass
