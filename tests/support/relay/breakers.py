"""The rows of receiver_health, and opening a webhook's breaker."""

import json
from typing import Any

from aiohttp import web

from tests.support.database import Connection
from tests.support.receivers.receiver import Arrival, Receiver
from tests.support.rows import write_event
from tests.support.waiting import until


def answering(status: int, **headers: str) -> Any:
    async def answer(_: Arrival) -> web.StreamResponse:
        return web.Response(status=status, headers=headers)

    return answer


async def lane(connection: Connection, webhook_id: object) -> Any:
    return await connection.fetchrow("select * from receiver_health where webhook_id = $1", webhook_id)


async def notices(connection: Connection) -> list[tuple[str, dict[str, Any]]]:
    """The notices in the log, as they were written."""
    rows = await connection.fetch(
        "select type, data from events where type like 'webhook-%' or type = 'delivery-failed' order by position"
    )
    return [(row["type"], json.loads(row["data"])) for row in rows]


async def open_breaker(connection: Connection, receiver: Receiver, webhook_id: object) -> None:
    """Opens the breaker by failing events. No request is in flight when this returns."""
    receiver.answer = answering(500)

    async def is_open() -> bool:
        row = await lane(connection, webhook_id)
        if row["opened_at"] is None and not await connection.fetchval("select count(*) from outbox"):
            await write_event(connection)
        found: bool = row["opened_at"] is not None and not await connection.fetchval(
            "select count(*) from deliveries where leased_by is not null"
        )
        return found

    await until(is_open, "the breaker is open and nothing is under way")
