"""kill -9 of the API between a statement and its commit: no change, no event and no answer exists
afterwards."""

import asyncio

import aiohttp
import asyncpg
import pytest

from tests.support.api_process import Api
from tests.support.database import Connection
from tests.support.waiting import until


# The table that the mutation writes last. While it is locked, the item and its event are written
# and the commit is not sent.
@pytest.mark.parametrize(
    ("last", "headers"),
    [("audit", {}), ("idempotent_answers", {"Idempotency-Key": "a-key"})],
    ids=["plain", "with a key"],
)
async def test_an_api_killed_before_the_commit_leaves_neither_item_nor_event(
    api: Api, connection: Connection, database_url: str, last: str, headers: dict[str, str]
) -> None:
    await api.call("POST", "/items", {"name": "Kept", "quantity": 9})
    before = await connection.fetchval("select max(seq) from outbox")
    blocker = await asyncpg.connect(database_url)
    lock = blocker.transaction()
    await lock.start()
    await blocker.execute(f"lock table {last} in exclusive mode")
    request = asyncio.create_task(api.call("POST", "/items", {"name": "Lost", "quantity": 9}, headers))

    async def waits() -> object:
        return await connection.fetchval(
            "select pid from pg_stat_activity where wait_event_type = 'Lock' and query like $1"
            " and datname = current_database()",
            f"%insert into {last}%",
        )

    await until(waits, "the mutation has written its event and waits")
    backend = await waits()
    # Both rows exist inside the transaction. A sequence is not rolled back, so it shows that the
    # outbox row was written.
    assert await connection.fetchval("select last_value from outbox_seq_seq") == before + 1
    api.process.kill()
    await api.process.wait()
    with pytest.raises(aiohttp.ClientError):
        await request
    await lock.rollback()
    await blocker.close()

    async def gone() -> bool:
        return not await connection.fetchval("select exists (select from pg_stat_activity where pid = $1)", backend)

    await until(gone, "the transaction has ended")
    assert await connection.fetchval("select max(seq) from outbox") == before
    assert await connection.fetchval("select array_agg(name) from items") == ["Kept"]
    assert await connection.fetchval("select count(*) from audit where action = 'create' and entity = 'item'") == 1
    assert await connection.fetchval("select count(*) from idempotent_answers") == 0
