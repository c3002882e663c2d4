"""The state machine of a transfer is the same in the table, in the code and in the guide."""

import re
from itertools import pairwise
from pathlib import Path

from service.platform.db import connect
from service.platform.migrate import migrations
from service.transfers.rules import EDGES
from tests.integration.caller import Database

GUIDE = Path(__file__).parents[2] / "docs" / "TRANSFERS.md"


async def test_the_table_the_code_and_the_guide_have_the_same_edges(connection: Database) -> None:
    check = await connection.fetchval(
        "select pg_get_constraintdef(oid) from pg_constraint where conname = 'transfers_edge_check'"
    )
    # The server writes a list of pairs as comparisons of the columns.
    in_table = set(re.findall(r"came_from = '(\w+)'::text\) AND \(status = '(\w+)'::text", check))
    in_guide = set(re.findall(r"^    (\w+) --> (\w+):", GUIDE.read_text(), re.MULTILINE))
    in_code = {(state, target) for state, targets in EDGES.items() for target in targets}

    assert len(in_code) == 8
    assert in_table == in_guide == in_code
    assert "'pending'::text" in check.partition("ELSE")[0]


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

    rows = await connection.fetch("select item_id, delta, reason, reference_id from stock_moves order by seq")
    await connection.close()
    assert [tuple(row) for row in rows] == [(item["id"], item["quantity"], "created", None) for item in items]
