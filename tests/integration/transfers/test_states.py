"""The table, the code and the guide have the same states of a transfer."""

from itertools import pairwise

from service.platform.db import connect
from service.platform.migrate import migrations
from service.transfers.rules import EDGES
from tests.support.database import Connection
from tests.support.state_diagrams import BEGIN, drawn


async def test_the_table_the_code_and_the_guide_have_the_same_edges(connection: Connection) -> None:
    check = await connection.fetchval(
        "select pg_get_expr(conbin, conrelid) from pg_constraint where conname = 'transfers_edge_check'"
    )
    allowed = await connection.fetch(
        "select came_from, status from unnest($1::text[]) as status, unnest(array_append($1::text[], null)) as came_from"
        f" where {check}",
        [*EDGES, "gone"],
    )
    in_table = {(row["came_from"], row["status"]) for row in allowed}
    in_guide = drawn("TRANSFERS.md", "States")
    in_code = {(state, target) for state, targets in EDGES.items() for target in targets}

    assert len(in_code) == 8
    assert in_guide == in_code | {(BEGIN, "pending")}
    assert in_table == in_code | {(None, "pending")}


async def test_the_ledger_begins_with_what_was_there_before_it(empty_database_url: str) -> None:
    connection = await connect(empty_database_url, application_name="test")
    for migration, following in pairwise(migrations()):
        await connection.execute(migration.sql)
        if following.name == "track_stock":
            break
    items = await connection.fetch(
        "insert into items (name, quantity) values ('Pump', 7), ('Drill', 0) returning id, quantity"
    )

    await connection.execute(following.sql)

    rows = await connection.fetch("select item_id, delta, reason, reference_id from stock_moves")
    await connection.close()
    # Without an order: before PostgreSQL 18, ids of the same millisecond have none.
    assert sorted(tuple(row) for row in rows) == sorted(
        (item["id"], item["quantity"], "created", None) for item in items
    )
