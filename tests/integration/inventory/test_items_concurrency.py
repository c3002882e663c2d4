"""Changes of an item at the same moment, and changes that fail at their commit."""

import asyncio
from typing import Any

import orjson

from service.platform.server_clock import SERVER_CLOCK
from tests.support.api.caller import Caller
from tests.support.api.outbox import refuse_commits, take_events
from tests.support.database import Connection, SomebodyWaits


async def test_a_mutation_that_fails_when_it_commits_leaves_neither_row_nor_event(
    admin: Caller, connection: Connection
) -> None:
    item = await admin.make("/items", name="Pump", quantity=9)
    await take_events(connection)
    records = await connection.fetchval("select count(*) from audit")
    await refuse_commits(connection)

    assert (await admin.put(f"/items/{item['id']}", {"quantity": 1})).status == 500
    assert (await admin.post("/items", {"name": "Other"})).status == 500
    assert (await admin.delete(f"/items/{item['id']}")).status == 500

    assert (await admin.get("/items")).body == [item]
    assert await take_events(connection) == []
    assert await connection.fetchval("select count(*) from audit") == records


async def test_of_two_changes_of_an_item_the_later_has_the_later_time(
    admin: Caller, connection: Connection, somebody_waits: SomebodyWaits
) -> None:
    """The later change may have begun first."""
    item = await admin.make("/items", name="Pump", quantity=9)
    await take_events(connection)
    async with connection.transaction():
        await connection.execute("select from items where id = $1 for update", item["id"])
        changing = asyncio.create_task(admin.put(f"/items/{item['id']}", {"quantity": 8}))
        await somebody_waits()
        let_go = SERVER_CLOCK.now()
    assert (await changing).status == 200
    assert await connection.fetchval("select min(occurred_at) from outbox") >= let_go


async def test_concurrent_updates_of_different_fields_are_all_kept(admin: Caller, connection: Connection) -> None:
    item = await admin.make("/items", name="Pump", quantity=100)
    await take_events(connection)
    changes: list[dict[str, Any]] = [
        {"name": "Big pump"},
        {"sku": "HP-1"},
        {"description": "new"},
        {"quantity": 99},
        {"min_quantity": 7},
        {"condition": "fair"},
        {"status": "lost"},
        {"purchase_date": "2024-01-31"},
        {"attributes": {"a": 1}},
    ]

    answers = await asyncio.gather(*(admin.put(f"/items/{item['id']}", change) for change in changes))

    assert {answer.status for answer in answers} == {200}
    wanted = {name: value for change in changes for name, value in change.items()}
    now = (await admin.get(f"/items/{item['id']}")).body
    assert {name: now[name] for name in wanted} == wanted
    # Each event has its own change, and the item as the earlier changes left it.
    events = [orjson.loads(data) for _, data in await take_events(connection)]
    assert sorted(name for event in events for name in event["changes"]) == sorted(wanted)
    assert (events[-1]["name"], events[-1]["sku"], events[-1]["quantity"]) == ("Big pump", "HP-1", 99)


async def test_of_items_created_at_once_with_one_sku_one_wins(admin: Caller, connection: Connection) -> None:
    answers = await asyncio.gather(*(admin.post("/items", {"name": "Pump", "sku": "HP-1"}) for _ in range(6)))

    assert sorted(answer.status for answer in answers) == [201, 409, 409, 409, 409, 409]
    assert [event for event, _ in await take_events(connection)] == ["item-created", "low-stock-alert"]
