"""Lists of items keep to their indexes, also while statistics are stale: the pages that they read
do not grow with items that do not match."""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import pytest

from service.api.order import BY_ID, Key, Order, Place
from service.inventory.lists import order_values
from service.inventory.models import ItemQuery
from service.platform.queries import Statement, load
from tests.support.database import Connection
from tests.support.query_plans import nodes

SQL = load("lists")
SMALL, LARGE, FITTING, STRETCH = 3_000, 15_000, 20, 1000
CATEGORY, LOCATION, FOREMAN = UUID(int=1), UUID(int=2), UUID(int=3)
LATE = datetime(2099, 1, 1, tzinfo=UTC)
NO_FILTERS = dict.fromkeys(name for name in SQL.count_listed.parameters if name != "most")
FILTERS: dict[str, dict[str, Any]] = {
    "category": {"category_ids": [CATEGORY, UUID(int=9)]},
    "location": {"location_id": LOCATION},
    "status": {"status": "lost"},
    "condition": {"condition": "damaged"},
    "serial number": {"serial_number": "SN-7"},
    "low stock": {"low_stock": True},
    "updated": {"updated_since": LATE},
    "created": {"created_since": LATE},
    "purchased since": {"purchased_since": date(2099, 1, 1)},
    "purchased until": {"purchased_until": date(2000, 1, 1)},
    "two": {"status": "lost", "low_stock": True},
}
SEARCHES = (["core"], ["drill", "te"], ["te"], ["q"], ["te-30"], ["zzzzz"], ["drill", "core", "te", "30"])
ORDERS = [BY_ID, *(Order(by, descending) for by in ItemQuery.KINDS for descending in (False, True))]


def _cases() -> Iterator[tuple[str, Statement, dict[str, Any]]]:
    page = {"skip": 0, "limit": 50}
    for name, filters in FILTERS.items():
        values = {**NO_FILTERS, **filters}
        yield f"count by {name}", SQL.count_listed, {**values, "most": 10_001}
        yield (
            f"sort by {name}",
            SQL.sort_listed,
            {**values, **page, **order_values(Order("name", descending=True), None)},
        )
    yield "count all", SQL.count_listed, {**NO_FILTERS, "most": 1000}
    for words in SEARCHES:
        found = {**NO_FILTERS, "first": words[0], "second": words[-1], "words": words}
        yield f"count {words}", SQL.count_found, {**found, "most": 10_001}
        yield f"sort {words}", SQL.sort_found, {**found, **page, **order_values(BY_ID, None)}
    for order in ORDERS:
        keys: dict[str, Key] = {"name": "m", "sku": "m", "quantity": 50, "purchase_date": date(2026, 1, 1), "id": ""}
        after = Place(order, keys.get(order.by, datetime(2026, 1, 1, tzinfo=UTC)), UUID(int=2**127))
        for place in (None, after):
            begin = {**NO_FILTERS, **order_values(order, place), **page, "passed": 0}
            yield f"walk {order} {place}", SQL.walk, {**begin, "most": 50, "first": None, "words": None}
            search = {"most": STRETCH, "first": "core", "words": ["core"], "status": "lost"}
            yield f"walk {order} {place} for words", SQL.walk, {**begin, **search}


async def _grow(connection: Connection, rows: int) -> None:
    """Add this many items that match none of the cases."""
    await connection.execute(
        """insert into items (name, sku, quantity, purchase_date, created_at, updated_at)
           select 'Washer ' || n, 'S-' || gen_random_uuid(), 10 + n % 90, date '2026-01-01' + n % 300,
                  timestamptz '2026-01-01Z' + n * interval '1 second', timestamptz '2026-01-01Z' + n * interval '1 second'
             from generate_series(1, $1::int) as n""",
        rows,
    )


@pytest.fixture
async def shop(connection: Connection) -> Connection:
    """A few matching items, in tables that were analysed while they were small and are not analysed
    again."""
    await connection.execute("insert into categories (id, name) values ($1, 'Drills')", CATEGORY)
    await connection.execute("insert into locations (id, name) values ($1, 'Depot')", LOCATION)
    await connection.execute(
        """insert into items (name, quantity, status, condition, category_id, location_id, created_at, updated_at, purchase_date)
           select 'TE-30 core drill ' || n, 1, 'lost', 'damaged', $1, $2, '2100-01-01Z', '2100-01-01Z',
                  case when n % 2 = 0 then date '2100-01-01' else '1999-01-01' end
             from generate_series(1, $3::int) as n""",
        CATEGORY,
        LOCATION,
        FITTING,
    )
    await _grow(connection, SMALL)
    for table in ("items", "item_texts"):
        await connection.execute(f"alter table {table} set (autovacuum_enabled = off)")
        await connection.execute(f"vacuum (analyze) {table}")
    return connection


async def _explain(connection: Connection, statement: Statement, values: dict[str, Any]) -> dict[str, Any]:
    text = await connection.fetchval(
        f"explain (analyze, buffers, format json) {statement.sql}", *statement.arguments(values)
    )
    plan: dict[str, Any] = json.loads(text)[0]["Plan"]
    return plan


def _scanned(plan: dict[str, Any]) -> set[str]:
    """The tables of items that are read from end to end."""
    return {
        node["Relation Name"]
        for node in nodes(plan)
        if node["Node Type"] == "Seq Scan" and node["Relation Name"] in ("items", "item_texts")
    }


def _buffers(plan: dict[str, Any]) -> int:
    buffers: int = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
    return buffers


async def test_no_list_reads_more_where_there_are_more_items_that_do_not_fit(shop: Connection) -> None:
    small = {name: _buffers(await _explain(shop, sql, values)) for name, sql, values in _cases()}
    await _grow(shop, LARGE - SMALL)
    large = {name: await _explain(shop, sql, values) for name, sql, values in _cases()}

    walks = {name: _buffers(plan) for name, plan in large.items() if name.startswith("walk")}
    assert len(walks) == 4 * len(ORDERS)
    # A walk looks up each item that it passes in at most two tables.
    assert max(walks.values()) < 10 * STRETCH
    # The count of all items may scan a table: every row matches, so reading ends at the limit.
    assert {name for name, plan in large.items() if _scanned(plan) and name not in walks} <= {"count all"}
    # An index may have become one level deeper.
    grown = {
        name: (small[name], _buffers(plan))
        for name, plan in large.items()
        if name not in walks and _buffers(plan) > small[name] * 1.5 + 100
    }
    assert grown == {}


@pytest.mark.parametrize("search", [["core"], None])
async def test_a_foreman_of_few_items_reads_no_others(shop: Connection, search: list[str] | None) -> None:
    await shop.execute(
        "insert into users (id, username, email, full_name, role, password_hash) values ($1, 'anna', 'anna@example.org', 'Anna', 'foreman', '!')",
        FOREMAN,
    )
    await shop.execute("insert into location_foremen (location_id, user_id) values ($1, $2)", LOCATION, FOREMAN)
    await shop.execute("insert into locations (id, name) values ($1, 'Elsewhere')", UUID(int=7))
    await shop.execute("update items set location_id = $1 where location_id is null", UUID(int=7))
    await shop.execute("vacuum (analyze) items")
    values = {**NO_FILTERS, "foreman_id": FOREMAN, "most": 10_001}
    if search is None:
        plan = await _explain(shop, SQL.count_listed, values)
    else:
        words = {"first": search[0], "second": search[0], "words": search}
        plan = await _explain(shop, SQL.count_found, {**values, **words})
    assert _scanned(plan) == set()
    assert next(nodes(plan))["Actual Rows"] == 1
