"""The audit of stock finds every unit that is lost, made or promised twice, and nothing in a
healthy stock."""

import asyncpg
import pytest

from tests.support.api.caller import Api, SignUp
from tests.support.api.transfer_yard import open_yard
from tests.support.database import Connection
from tests.support.postgres.audit_scripts import run_audit

# The finding that each kind of damage causes. Constraints in the way are dropped first, because a
# backup may have been restored without them.
DAMAGE = {
    "update items set quantity = quantity + 1 where name = 'Pump' and reserved_quantity > 0": "an item differs from its ledger",
    "delete from stock_moves where reason = 'created'": "an item differs from its ledger",
    "insert into stock_moves (item_id, delta, reason) values (uuidv7(), 3, 'created')": (
        "a deleted item has units in the ledger"
    ),
    "update stock_moves set delta = -20 where reason = 'created'": "an item had fewer units than none",
    "update items set reserved_quantity = 11 where reserved_quantity > 0": "a quantity is negative or reserved beyond it",
    "update items set quantity = -1 where reserved_quantity = 0": "a quantity is negative or reserved beyond it",
    "update items set reserved_quantity = 0": "reserved units differ from the open transfers",
    "update transfers set quantity = quantity + 1 where status = 'pending'": (
        "reserved units differ from the open transfers"
    ),
    "delete from items where reserved_quantity > 0": "an open transfer has no item",
    "update stock_moves set delta = delta + 1 where reason = 'transfer' and delta > 0": (
        "a completed transfer did not move its units"
    ),
    "delete from stock_moves where reason = 'transfer'": "a completed transfer did not move its units",
    "update stock_moves set item_id = uuidv7() where reason = 'transfer' and delta > 0": (
        "a completed transfer did not move its units"
    ),
    "update stock_moves set reference_id = (select id from transfers where status = 'pending') where reason = 'transfer'": (
        "a transfer that is not completed moved units"
    ),
    "delete from transfers where status = 'completed'": "an entry names a transfer that does not exist",
}
TABLES = ("items", "transfers", "stock_moves")
COLUMNS = """
  select string_agg(attname, ', ') from pg_attribute
   where attrelid = $1::text::regclass and attnum > 0 and not attisdropped and attgenerated = ''
"""


async def test_damage_is_found(api: Api, sign_up: SignUp, connection: Connection, database_url: str) -> None:
    yard = await open_yard(api, sign_up)
    await yard.step(await yard.request(), "approve", "complete")
    await yard.step(await yard.request(quantity=1), "cancel")
    await yard.request(quantity=2)
    whole = await yard.admin.make("/items", name="Drill", serial_number="S-1", quantity=1, location_id=yard.depot)
    await yard.step(await yard.request(item_id=whole["id"], quantity=1), "approve", "complete")
    gone = await yard.admin.make("/items", name="Gone", quantity=3)
    await yard.admin.delete(f"/items/{gone['id']}")
    assert await run_audit("stock_conservation", database_url) == []
    await connection.execute("alter table items drop constraint items_check")
    # The audit does not look at foreign keys.
    await connection.execute("set session_replication_role = replica")
    columns = {table: await connection.fetchval(COLUMNS, table) for table in TABLES}

    for damage, problem in DAMAGE.items():
        saved = {table: await connection.fetch(f"select to_json({table}) from {table}") for table in TABLES}
        assert await connection.execute(damage) not in {"UPDATE 0", "DELETE 0"}, damage
        assert problem in {row.split("|")[0] for row in await run_audit("stock_conservation", database_url)}, damage
        for table, rows in saved.items():
            await connection.execute(f"delete from {table}")
            await connection.executemany(
                f"insert into {table} ({columns[table]}) overriding system value"
                f" select {columns[table]} from json_populate_record(null::{table}, $1)",
                [(row[0],) for row in rows],
            )
    assert await run_audit("stock_conservation", database_url) == []


async def test_the_ledger_refuses_an_entry_that_says_nothing(connection: Connection) -> None:
    for entry in ("0, 'counted', null", "1, 'transfer', null", "1, 'counted', uuidv7()", "1, 'found', null"):
        with pytest.raises(asyncpg.CheckViolationError):
            await connection.execute(
                f"insert into stock_moves (item_id, delta, reason, reference_id) values (uuidv7(), {entry})"
            )
