"""kill -9 of the API while it writes: a change and its event exist together, or neither does."""

import asyncio

import aiohttp
import asyncpg
import pytest

from tests.support.api_process import Api
from tests.support.database import Connection
from tests.support.waiting import until


# The table that is written last. While it is locked, the item and its event are written and not yet
# committed. Without a key, one statement writes everything and commits by itself, so it ends
# without the API. With a key, the API dies before it sends the commit.
@pytest.mark.parametrize(
    ("last", "headers", "kept"),
    [
        ("audit", {}, ["Kept", "Written"]),
        ("idempotent_answers", {"Idempotency-Key": "a-key"}, ["Kept"]),
    ],
    ids=["plain", "with a key"],
)
async def test_an_api_killed_while_it_writes_leaves_an_item_with_its_event_or_neither(
    api: Api, connection: Connection, database_url: str, last: str, headers: dict[str, str], kept: list[str]
) -> None:
    await api.call("POST", "/items", {"name": "Kept", "quantity": 9})
    before = await connection.fetchval("select max(seq) from outbox")
    blocker = await asyncpg.connect(database_url)
    lock = blocker.transaction()
    await lock.start()
    await blocker.execute(f"lock table {last} in exclusive mode")
    request = asyncio.create_task(api.call("POST", "/items", {"name": "Written", "quantity": 9}, headers))

    async def waits() -> object:
        return await connection.fetchval(
            "select pid from pg_locks where not granted and relation = $1::regclass"
            " and database = (select oid from pg_database where datname = current_database())",
            last,
        )

    await until(waits, "the mutation has written its event and waits")
    backend = await waits()
    # Both rows exist inside the transaction. A sequence is not rolled back, so it shows that the
    # outbox row was written.
    assert await connection.fetchval("select last_value from outbox_seq_seq") == before + 1
    assert await connection.fetchval("select max(seq) from outbox") == before
    api.process.kill()
    await api.process.wait()
    with pytest.raises(aiohttp.ClientError):
        await request
    await lock.rollback()
    await blocker.close()

    async def gone() -> bool:
        return not await connection.fetchval("select exists (select from pg_stat_activity where pid = $1)", backend)

    await until(gone, "the transaction has ended")
    assert await connection.fetchval("select array_agg(name order by name) from items") == kept
    written = "select array_agg(data::json ->> 'name' order by seq) from outbox where type = 'item-created'"
    assert await connection.fetchval(written) == kept
    recorded = "select array_agg(after ->> 'name' order by after ->> 'name') from audit where entity = 'item'"
    assert await connection.fetchval(recorded) == kept
    assert await connection.fetchval("select count(*) from idempotent_answers") == 0
