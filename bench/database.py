"""A run's database, and the process that receives the requests of its relays."""

import asyncio
import base64
import hashlib
import time
from collections.abc import Sequence
from typing import TypeAlias
from uuid import UUID

import asyncpg

from bench.client import Client
from bench.receiver import ADDRESSES
from bench.sql import SQL
from service.delivery.sign import new_secret
from service.demo.children import Child
from service.platform.ids import new_id
from service.platform.vault import Vault, parse_key

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
EVENT_TYPE = "item-updated"
KEY = base64.b64encode(hashlib.sha256(b"bench").digest()).decode()
# Longer than any run takes on a machine that is not hopeless.
PATIENCE = 240.0
TICK = 0.02
# The owner of webhooks by default. It is in the template, so all databases have it.
OWNER_ID = UUID("0190b7c4-0000-7000-8000-000000000001")


class Database:
    """The database of one run, or a template for several runs."""

    def __init__(self, name: str, url: str, connection: Connection) -> None:
        self.name = name
        self.url = url
        self.connection = connection

    async def add_webhooks(
        self,
        urls: Sequence[str],
        *,
        locations: Sequence[UUID | None] | None = None,
        timeout_ms: int = 30_000,
        owner_id: UUID = OWNER_ID,
    ) -> list[UUID]:
        vault = Vault([parse_key(KEY)])
        ids = [new_id() for _ in urls]
        await SQL.add_webhooks.execute(
            self.connection,
            owner_id=owner_id,
            event_type=EVENT_TYPE,
            timeout_ms=timeout_ms,
            ids=ids,
            urls=list(urls),
            secrets=[vault.seal(new_secret().encode(), id.bytes) for id in ids],
            locations=list(locations) if locations is not None else [None] * len(ids),
        )
        return ids

    async def write_events(self, count: int, locations: Sequence[UUID] = ()) -> None:
        await SQL.write_events.execute(self.connection, event_type=EVENT_TYPE, count=count, locations=list(locations))

    async def until_drained(self, patience: float = PATIENCE) -> None:
        """Until both queues are empty."""
        end = time.monotonic() + patience
        while not await SQL.drained.fetchval(self.connection):
            if time.monotonic() > end:
                raise TimeoutError(f"the queues are not empty after {patience:.0f} s")
            await asyncio.sleep(TICK)


class Receiver:
    """The receiver's process, and a connection for questions to it."""

    def __init__(self, child: Child, port: int, client: Client) -> None:
        self.pid = child.process.pid
        self.port = port
        self._client = client

    def urls(self, count: int, prefix: str = "") -> list[str]:
        """So many URLs, over its addresses in turn, so that a sender needs connections to each."""
        return [f"http://127.0.0.{number % ADDRESSES + 1}:{self.port}{prefix}/{number}" for number in range(count)]

    async def reset(self) -> None:
        await self._client.get("/_reset")

    async def count(self) -> int:
        return int(await self._client.get("/_count"))

    async def until(self, count: int, patience: float = PATIENCE) -> None:
        end = time.monotonic() + patience
        while (seen := await self.count()) < count:
            if time.monotonic() > end:
                raise TimeoutError(f"{seen} of {count} deliveries arrived in {patience:.0f} s")
            await asyncio.sleep(TICK)

    async def arrivals(self) -> dict[UUID, float]:
        """The time of each event's first arrival, in monotonic seconds."""
        lines = (await self._client.get("/_arrivals")).decode().splitlines()
        return {UUID(event_id): float(at) for event_id, _, at in (line.partition(" ") for line in lines)}
