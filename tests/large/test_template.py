"""The large template holds as many rows as it should. So a fast test did not merely find few
rows."""

import asyncpg

from tests.support.database import Connection, with_database
from tests.support.large.template import ATTEMPTS, EVENTS, ITEMS
from tests.support.postgres.shared_server import TEMPLATE


async def test_the_template_holds_what_it_promises(connection: Connection) -> None:
    counts = {
        table: await connection.fetchval(f"select count(*) from {table}")
        for table in ("items", "events", "attempts", "audit", "sessions")
    }
    assert counts == {"items": ITEMS, "events": EVENTS, "attempts": ATTEMPTS, "audit": 1_000_000, "sessions": 200_000}
    assert await connection.fetchval("select position from log_head") == EVENTS


async def test_the_tables_have_every_index_again(connection: Connection, server_url: str) -> None:
    names = "select indexrelid::regclass::text from pg_index where indrelid = any ('{items,audit,sessions}'::regclass[]) order by 1"
    template = await asyncpg.connect(with_database(server_url, TEMPLATE))
    try:
        expected = [row[0] for row in await template.fetch(names)]
    finally:
        await template.close()
    assert [row[0] for row in await connection.fetch(names)] == expected
