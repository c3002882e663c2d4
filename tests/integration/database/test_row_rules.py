"""The rules of the rows of items and stock_moves, and of outbox: each refuses with its name."""

import asyncpg
import pytest

from tests.support.database import Connection

ITEMS = {
    "items_name_check": ["''", "repeat('x', 256)"],
    "items_sku_check": ["'x', ''", "'x', repeat('x', 101)"],
    "items_serial_number_check": ["'x', null, ''", "'x', null, repeat('x', 101)", "'x', null, 's', null, 2"],
    "items_description_check": ["'x', null, null, repeat('x', 8001)"],
    "items_quantity_check": [
        "'x', null, null, null, -1",
        "'x', null, null, null, 1, -1",
        "'x', null, null, null, 1, 0, -1",
    ],
    "items_reserved_quantity_check": ["'x', null, null, null, 1, 2"],
    "items_condition_check": ["'x', null, null, null, 1, 0, 0, 'broken'"],
    "items_status_check": ["'x', null, null, null, 1, 0, 0, 'good', 'sold'"],
    "items_attributes_check": ["'x', null, null, null, 1, 0, 0, 'good', 'lost', '[]'"],
}
COLUMNS = [
    "name",
    "sku",
    "serial_number",
    "description",
    "quantity",
    "reserved_quantity",
    "min_quantity",
    "condition",
    "status",
    "attributes",
]
MOVES = {
    "stock_moves_reason_check": ["1, 'found', null"],
    "stock_moves_delta_check": ["0, 'counted', null"],
    "stock_moves_reference_id_check": ["1, 'transfer', null", "1, 'counted', uuidv7()"],
}
EVENTS = {
    "outbox_type_check": ("type, data", "'Item', '{}'"),
    "outbox_data_check": ("type, data", "'item-created', '[]'"),
    "outbox_occurred_at_check": ("type, data, occurred_at", "'item-created', '{}', 'infinity'"),
    "outbox_traceparent_check": ("type, data, traceparent", "'item-created', '{}', repeat('0', 65)"),
    "outbox_id_time_check": ("type, data, id", "'item-created', '{}', gen_random_uuid()"),
    "outbox_routed_check": ("type, data, stock", "'item-created', '{}', 3"),
    "outbox_audience_check": ("type, data, audience", "'item-created', '{}', 'everybody'"),
}


async def _refused(connection: Connection, statement: str, rule: str) -> None:
    with pytest.raises(asyncpg.CheckViolationError) as refused:
        await connection.execute(statement)
    assert refused.value.constraint_name == rule
    assert str(refused.value).startswith(f"{rule}: ")


@pytest.mark.parametrize(("rule", "values"), [(rule, values) for rule, rows in ITEMS.items() for values in rows])
async def test_an_item_that_breaks_a_rule_is_refused_with_its_name(
    connection: Connection, rule: str, values: str
) -> None:
    count = values.replace("repeat('x', ", "repeat(").count(",") + 1
    columns = ", ".join(COLUMNS[:count])
    await _refused(connection, f"insert into items ({columns}) values ({values})", rule)


async def test_an_update_is_checked_as_well(connection: Connection) -> None:
    await connection.execute("insert into items (name, quantity) values ('Pump', 3)")
    await _refused(connection, "update items set reserved_quantity = 4", "items_reserved_quantity_check")


@pytest.mark.parametrize(("rule", "values"), [(rule, values) for rule, rows in MOVES.items() for values in rows])
async def test_a_move_that_breaks_a_rule_is_refused_with_its_name(
    connection: Connection, rule: str, values: str
) -> None:
    await _refused(
        connection,
        f"insert into stock_moves (item_id, delta, reason, reference_id) values (uuidv7(), {values})",
        rule,
    )


@pytest.mark.parametrize("rule", EVENTS)
async def test_an_event_that_breaks_a_rule_is_refused_with_its_name(connection: Connection, rule: str) -> None:
    columns, values = EVENTS[rule]
    await _refused(connection, f"insert into outbox ({columns}) values ({values})", rule)
