"""Lists of a million items read little more than they show, whatever the query is."""

import json
from contextlib import nullcontext
from typing import Any
from uuid import UUID

import pytest

from service.api.call import Principal
from service.inventory import lists
from service.inventory.models import ItemQuery
from service.platform.db import Pool, open_pool
from service.platform.queries import Statement
from tests.support.database import Connection
from tests.support.large.template import ITEMS

# Looking up an item by its id takes four buffers in either table: 200,000 for 50,000 matches, and
# 4,000,000 for all items. If a foreman searches for a word of every item, as many are read as it
# takes to count 10,000 of the foreman's own.
MOST_BUFFERS = {"admin": 300_000, "foreman": 1_500_000}


@pytest.fixture
async def people(connection: Connection) -> dict[str, Principal]:
    rows = await connection.fetch("select id, username, role from users where username in ('admin', 'foreman')")
    return {row["username"]: Principal(row["id"], UUID(int=1), row["username"], "", "", row["role"]) for row in rows}


QUERIES: list[tuple[dict[str, str], int | None]] = [
    ({}, None),
    ({"sort": "name"}, None),
    ({"sort": "-updated_at"}, None),
    ({"search": "te drill"}, None),
    ({"search": "drill te", "sort": "-quantity"}, None),
    ({"search": "te"}, None),
    ({"search": "q"}, 0),
    ({"search": "zzzz", "sort": "name"}, 0),
    ({"search": "123456 hilti", "sort": "name"}, 0),
    ({"search": "sn-00500000"}, 1),
    ({"serial_number": "SN-00500000"}, 1),
    ({"low_stock": "true", "sort": "name"}, None),
    ({"status": "lost", "search": "barrow"}, None),
    ({"updated_since": "2100-01-01T00:00:00Z"}, 0),
    ({"purchased_since": "2020-01-01", "sort": "-purchase_date"}, 0),
]


async def test_no_statement_of_a_page_reads_a_table_from_the_beginning_for_a_few_rows(
    connection: Connection, people: dict[str, Principal], database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans: list[tuple[str, dict[str, Any]]] = []
    fetch = Statement.fetch

    async def explained(statement: Statement, executor: Any, **values: Any) -> Any:
        if statement.name.startswith("lists."):
            sql = f"explain (analyze, buffers, format json) {statement.sql}"
            text = await executor.fetchval(sql, *statement.arguments(values))
            plans.append((statement.name, json.loads(text)[0]["Plan"]))
        return await fetch(statement, executor, **values)

    async def value(statement: Statement, executor: Any, **values: Any) -> Any:
        rows = await explained(statement, executor, **values)
        return rows[0][0] if rows else None

    async def row(statement: Statement, executor: Any, **values: Any) -> Any:
        rows = await explained(statement, executor, **values)
        return rows[0] if rows else None

    monkeypatch.setattr(Statement, "fetch", explained)
    monkeypatch.setattr(Statement, "fetchval", value)
    monkeypatch.setattr(Statement, "fetchrow", row)
    pool: Pool = await open_pool(database_url, application_name="test", size=1)
    try:
        for user in people.values():
            for asked, expected in QUERIES:
                plans.clear()
                items, total = await lists.list_items(
                    pool, lambda: nullcontext(pool), user, ItemQuery.model_validate(asked)
                )
                if expected is None:
                    assert 0 < len(items) <= 50 if user.role == "foreman" else len(items) == 50, (user.role, asked)
                elif user.role == "admin":
                    assert (len(items), total.rows) == (expected, expected), asked
                assert plans
                for name, plan in plans:
                    buffers = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
                    assert buffers < MOST_BUFFERS[user.role], (user.role, asked, name, buffers)
    finally:
        await pool.close()
    assert await connection.fetchval("select count(*) from item_texts") == ITEMS
