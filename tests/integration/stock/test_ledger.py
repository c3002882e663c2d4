"""Every change of a quantity is in the ledger, and the ledger adds up to the stock."""

from dataclasses import replace
from uuid import UUID

from service.mutation import Mutation, command
from service.platform.db import open_pool
from service.platform.ids import new_id
from service.records import Origin
from service.stock import ledger
from service.stock.item import Item
from tests.support.api.caller import Caller
from tests.support.api.outbox import take_events
from tests.support.database import Connection


async def _moves(connection: Connection, item_id: str) -> list[tuple[int, str, UUID | None]]:
    rows = await connection.fetch(
        "select delta, reason, reference_id from stock_moves where item_id = $1 order by seq", item_id
    )
    return [(row["delta"], row["reason"], row["reference_id"]) for row in rows]


async def test_the_ledger_has_every_change_of_a_quantity_and_nothing_else(
    admin: Caller, connection: Connection
) -> None:
    item = await admin.make("/items", name="Pump", quantity=9)
    path = f"/items/{item['id']}"
    await admin.put(path, {"quantity": 4})
    await admin.put(path, {"name": "Big pump", "min_quantity": 1})
    await admin.put(path, {"quantity": 4})
    await admin.put(path, {"quantity": 6, "name": "Pump"})
    await admin.delete(path)

    assert await _moves(connection, item["id"]) == [
        (9, "created", None),
        (-5, "counted", None),
        (2, "counted", None),
        (-6, "deleted", None),
    ]


async def test_a_refused_change_leaves_no_entry(admin: Caller, connection: Connection) -> None:
    await admin.make("/items", name="Pump", sku="HP-1")
    item = await admin.make("/items", name="Pump", quantity=1)

    assert (await admin.put(f"/items/{item['id']}", {"quantity": 7, "sku": "HP-1"})).status == 409

    assert await _moves(connection, item["id"]) == [(1, "created", None)]


async def test_a_reservation_alone_is_neither_in_the_ledger_nor_an_event(
    admin: Caller, connection: Connection, database_url: str
) -> None:
    item = await admin.make("/items", name="Pump", quantity=9)
    item_id, reference_id = UUID(item["id"]), new_id()
    await take_events(connection)
    pool = await open_pool(database_url, application_name="test", size=1)

    @command("reserve")
    async def reserve(change: Mutation) -> Item:
        before = (await ledger.lock_several(change, [item_id]))[item_id]
        return ledger.save(change, before, replace(before, reserved_quantity=2))

    @command("take")
    async def take(change: Mutation) -> Item:
        before = await ledger.read(change, item_id)
        taken = replace(before, quantity=7, reserved_quantity=0)
        ledger.save(change, before, taken, reason="transfer", reference_id=reference_id)
        return before

    reserved = await reserve(pool, Origin())
    before = await take(pool, Origin())
    await pool.close()

    assert reserved.reserved_quantity == 2
    assert before == reserved
    assert await _moves(connection, item["id"]) == [(9, "created", None), (-2, "transfer", reference_id)]
    ((event_type, data),) = await take_events(connection)
    assert event_type == "item-updated"
    assert '"changes":{"quantity":{"from":9,"to":7},"reserved_quantity":{"from":2,"to":0}}' in data
