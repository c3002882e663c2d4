"""Commands that are overtaken by other changes: nothing is lost, nothing is done twice."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import orjson
import pytest

from service.inventory.commands import items, locations
from service.mutation import Again, Mutation, command
from service.platform.db import Pool
from service.platform.server_clock import SERVER_CLOCK
from service.records import Origin
from service.stock import ledger
from service.stock.item import Item
from tests.support.api.caller import Api, Caller, SignUp
from tests.support.api.outbox import take_events
from tests.support.database import Connection, SomebodyWaits

WRITERS = 16
CHANGES = 25


async def test_every_one_of_many_changes_of_one_item_at_once_is_right(
    api: Api, sign_up: SignUp, connection: Connection
) -> None:
    admins = [Caller(api, await sign_up("admin")) for _ in range(4)]
    item = await admins[0].make("/items", name="Pump", quantity=1, min_quantity=0)
    await take_events(connection)
    path = f"/items/{item['id']}"

    async def write(writer: int) -> None:
        for number in range(CHANGES):
            quantity = 2 + writer * CHANGES + number
            answer = await admins[writer % 4].put(path, {"quantity": quantity})
            assert (answer.status, answer.body["quantity"]) == (200, quantity)

    await asyncio.gather(*(write(writer) for writer in range(WRITERS)))

    events = [orjson.loads(data)["changes"]["quantity"] for _, data in await take_events(connection)]
    assert len(events) == WRITERS * CHANGES
    assert [event["from"] for event in events] == [1, *(event["to"] for event in events[:-1])]
    now = (await admins[0].get(path)).body
    assert events[-1]["to"] == now["quantity"]
    moves = [
        row["delta"]
        for row in await connection.fetch("select delta from stock_moves where item_id = $1 order by seq", item["id"])
    ]
    assert moves == [1, *(event["to"] - event["from"] for event in events)]
    audits = await connection.fetch(
        "select before ->> 'quantity' as before, after ->> 'quantity' as after, after ->> 'updated_at' as time,"
        " cardinality(event_ids) as events from audit where entity_id = $1 and action = 'update'",
        item["id"],
    )
    assert {(int(row["before"]), int(row["after"])) for row in audits} == {(e["from"], e["to"]) for e in events}
    assert {row["events"] for row in audits} == {1}


async def _made(pool: Pool, quantity: int = 9) -> Item:
    values = {"name": "Pump", "quantity": quantity, "min_quantity": 0, "condition": "good", "status": "available"}
    absent = dict.fromkeys(("sku", "serial_number", "description", "purchase_date", "category_id", "location_id"))
    return await items.create(pool, Origin(), {**absent, **values, "attributes": {}})


async def test_a_command_that_is_overtaken_decides_again(pool: Pool, connection: Connection) -> None:
    item = await _made(pool)
    await take_events(connection)
    seen = []

    @command("update")
    async def take_one(change: Mutation) -> Item:
        before = await ledger.read(change, item.id)
        seen.append((before.quantity, change.locks))
        if len(seen) == 1:
            # psql does not set updated_at.
            await connection.execute("update items set quantity = 5 where id = $1", item.id)
        return ledger.save(change, before, replace(before, quantity=before.quantity - 1))

    saved = await take_one(pool, Origin())

    assert seen == [(9, False), (5, True)]
    assert saved.quantity == 4
    ((_, data),) = await take_events(connection)
    assert orjson.loads(data)["changes"] == {"quantity": {"from": 5, "to": 4}}
    assert await connection.fetchval("select count(*) from audit where action = 'update'") == 1


async def test_an_item_that_was_deleted_in_between_is_not_found(
    admin: Caller, connection: Connection, somebody_waits: SomebodyWaits
) -> None:
    item = await admin.make("/items", name="Pump")
    async with connection.transaction():
        await connection.execute("delete from stock_moves where item_id = $1", item["id"])
        await connection.execute("delete from items where id = $1", item["id"])
        changing = asyncio.create_task(admin.put(f"/items/{item['id']}", {"quantity": 8}))
        await somebody_waits()
    assert (await changing).status == 404


async def test_a_condition_is_checked_against_what_was_overtaken(
    admin: Caller, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = await admin.make("/items", name="Pump", quantity=9)
    tag = (await admin.get(f"/items/{item['id']}")).headers["ETag"]
    placed, first = locations.placed, True

    async def slowly(change: Mutation, values: dict[str, object]) -> dict[str, object]:
        nonlocal first
        if first:
            first = False
            await connection.execute("update items set quantity = 5 where id = $1", UUID(item["id"]))
        return await placed(change, values)

    monkeypatch.setattr(locations, "placed", slowly)
    answer = await admin.sending(If_Match=tag).put(f"/items/{item['id']}", {"quantity": 8})

    assert answer.status == 412
    assert (await admin.get(f"/items/{item['id']}")).body["quantity"] == 5


async def test_the_time_of_an_item_never_goes_back(
    admin: Caller, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = await admin.make("/items", name="Pump", quantity=9)
    before = await connection.fetchval("select updated_at from items")
    monkeypatch.setattr(SERVER_CLOCK, "now", lambda: before - timedelta(hours=1))
    for quantity in (1, 2, 3):
        await admin.put(f"/items/{item['id']}", {"quantity": quantity})
    assert await connection.fetchval("select updated_at from items") == before + timedelta(microseconds=3)


async def test_a_command_that_needs_a_transaction_after_a_read_runs_again_in_one(pool: Pool) -> None:
    item = await _made(pool)
    runs = []

    @command("update")
    async def look(change: Mutation) -> int:
        await ledger.read(change, item.id)
        runs.append(change.locks)
        return int(await change.fetchval("select 1"))

    assert await look(pool, Origin()) == 1
    assert runs == [False, True]


async def test_a_command_that_is_overtaken_while_it_locks_runs_once_more(pool: Pool) -> None:
    runs = []

    @command("update")
    async def look(change: Mutation) -> None:
        await change.begin()
        runs.append(change.locks)
        if len(runs) < 3:
            raise Again

    await look(pool, Origin())
    assert runs == [True, True, True]


async def test_items_at_a_new_location_make_it_once(admin: Caller, connection: Connection) -> None:
    answers = await asyncio.gather(
        *(admin.post("/items", {"name": f"Pump {number}", "location_name": "Depot"}) for number in range(8))
    )
    assert {answer.status for answer in answers} == {201}
    assert len({answer.body["location_id"] for answer in answers}) == 1
    events = [event for event, _ in await take_events(connection)]
    assert events.count("location-created") == 1
    assert events.count("item-created") == 8
