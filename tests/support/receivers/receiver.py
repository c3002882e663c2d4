"""A receiver that keeps each request, and answers as the test says."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.support.waiting import PATIENCE


@dataclass(frozen=True)
class Arrival:
    """A request as it reached the receiver."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def envelope(self) -> dict[str, Any]:
        parsed: dict[str, Any] = json.loads(self.body)
        return parsed

    @property
    def event_id(self) -> str:
        return str(self.envelope["id"])


Responder = Callable[[Arrival], Awaitable[web.StreamResponse]]


async def accept(_: Arrival) -> web.StreamResponse:
    return web.Response(text="ok")


@dataclass
class Receiver:
    """A receiver on a free port of 127.0.0.1. `answer` may be replaced at any time."""

    answer: Responder = accept
    arrivals: list[Arrival] = field(default_factory=list)
    url: str = ""
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        arrival = Arrival(request.path, dict(request.headers), await request.read())
        self.arrivals.append(arrival)
        async with self._changed:
            self._changed.notify_all()
        return await self.answer(arrival)

    def ids(self) -> list[str]:
        return [arrival.event_id for arrival in self.arrivals]

    async def wait_for(self, condition: Callable[[], bool], patience: float = PATIENCE) -> None:
        async with self._changed:
            await asyncio.wait_for(self._changed.wait_for(condition), patience)


@asynccontextmanager
async def receiving(answer: Responder = accept) -> AsyncIterator[Receiver]:
    receiver = Receiver(answer)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", receiver.handle)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield receiver
    finally:
        await runner.cleanup()
