"""A leader that fans out and works through replays step by step."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
import orjson

from relay.board import Board
from relay.identity import Identity
from relay.lead.replay import Replay
from relay.watch.outage import Outage
from service.platform.db import open_pool
from tests.support.api.caller import Caller
from tests.support.database import Connection
from tests.support.postgres.audit_scripts import run_audit
from tests.support.relay.fan_out import drain
from tests.support.relay.log import Event, RelayLog

A_WHILE_AGO = "2020-01-01T00:00:00Z"


@dataclass
class Leader:
    """The leader's work on the log, one step at a time."""

    pool: "asyncpg.Pool[asyncpg.Record]"
    connection: Connection
    url: str

    def __post_init__(self) -> None:
        self.log = RelayLog(self.connection)
        self.board = Board()
        self.replay = Replay(
            self.pool, self.board, Outage(self.board), Identity(), ttl_seconds=30 * 86_400, poll_seconds=3600
        )

    async def write(self, *datas: dict[str, Any], type: str = "item-created") -> list[Event]:
        """Writes events and fans them out."""
        for data in datas:
            await self.connection.execute(
                "insert into outbox (type, data) values ($1, $2)", type, orjson.dumps(data).decode()
            )
        head = await self.connection.fetchval("select position from log_head")
        await drain(self.pool)
        rows = await self.connection.fetch(
            "select position, id, type, recorded_at from events where position > $1 order by position", head
        )
        return [Event(**row) for row in rows]

    async def write_many(self, count: int) -> list[Event]:
        return await self.write(*({"n": number} for number in range(count)))

    async def end(self, webhook_id: str, events: Sequence[Event], outcome: str = "failed") -> None:
        for event in events:
            status = {"success": 200, "failed": 500}.get(outcome)
            await self.log.attempt(webhook_id, event, outcome, status=status)

    async def work(self) -> None:
        """Works until no replay is open, or all of them wait."""
        while await self.replay.look() - {"waits"}:
            pass

    async def pending(self, webhook_id: str) -> list[int]:
        rows = await self.connection.fetch(
            "select position from deliveries where webhook_id = $1 order by position", webhook_id
        )
        return [row["position"] for row in rows]

    async def check_nothing_is_amiss(self) -> None:
        assert await run_audit("outbox_completeness", self.url) == []


@asynccontextmanager
async def leading(connection: Connection, url: str) -> AsyncIterator[Leader]:
    pool = await open_pool(url, application_name="test", size=4)
    try:
        yield Leader(pool, connection, url)
    finally:
        pool.terminate()


async def ask_replay(caller: Caller, webhook_id: str, **fields: Any) -> Any:
    """The job of an accepted replay."""
    answer = await caller.post(f"/webhooks/{webhook_id}/replay", {"since": A_WHILE_AGO, **fields})
    assert answer.status == 202, answer.body
    return answer.body["job"]


async def dry_run(caller: Caller, webhook_id: str, **fields: Any) -> Any:
    answer = await caller.post(f"/webhooks/{webhook_id}/replay", {"since": A_WHILE_AGO, "dryRun": True, **fields})
    assert answer.status == 200, answer.body
    return answer.body


async def show_job(caller: Caller, webhook_id: str, job: Any) -> Any:
    answer = await caller.get(f"/webhooks/{webhook_id}/replays/{job['id']}")
    assert answer.status == 200, answer.body
    return answer.body["job"]
