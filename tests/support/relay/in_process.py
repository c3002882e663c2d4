"""A whole relay in the test's own process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from relay.main import run
from relay.transport import HttpTransport
from service.platform.settings import Settings
from tests.support.database import Connection
from tests.support.waiting import until


@asynccontextmanager
async def relaying(
    connection: Connection, settings: Settings, url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator["asyncio.Task[None]"]:
    """A whole relay. It fails the test if the task ends before the block does."""
    # Changes of the garbage collector would outlast the test.
    for name in ("freeze", "set_threshold"):
        monkeypatch.setattr(f"relay.main.gc.{name}", lambda *_: None)
    task = asyncio.create_task(run(settings, url, HttpTransport(settings.webhook_allowed_networks)))

    async def leads() -> bool:
        if task.done():
            task.result()
        return bool(await connection.fetchval("select exists (select from relays where leader)"))

    try:
        await until(leads, "the relay leads")
        yield task
        assert not task.done(), "the relay has ended"
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
