"""The units of a completed transfer: their new item, and the events."""

import asyncio
from typing import Any

import orjson
import pytest

from tests.support.api.caller import Api, SignUp
from tests.support.api.outbox import refuse_commits, take_events
from tests.support.api.transfer_yard import Yard, open_yard
from tests.support.database import Connection, SomebodyWaits


async def _told(connection: Connection) -> list[tuple[str, dict[str, Any]]]:
    return [(event, orjson.loads(data)) for event, data in await take_events(connection)]


async def _complete(yard: Yard, **fields: Any) -> dict[str, Any]:
    answer = await yard.step(await yard.request(**fields), "approve", "complete")
    assert answer.status == 200, answer.body
    completed: dict[str, Any] = answer.body
    assert completed["status"] == "completed"
    return completed


async def _moves(connection: Connection, transfer_id: str) -> list[tuple[str, int]]:
    rows = await connection.fetch(
        "select item_id, delta from stock_moves where reason = 'transfer' and reference_id = $1 order by seq",
        transfer_id,
    )
    return [(str(row["item_id"]), row["delta"]) for row in rows]


async def test_units_go_into_a_new_item_where_there_was_none(yard: Yard, connection: Connection) -> None:
    transfer = await yard.request()
    await yard.step(transfer, "approve", "dispatch")
    await take_events(connection)

    completed = (await yard.step(transfer, "complete")).body

    new_id = completed["to_item_id"]
    old, new = await yard.item(), await yard.item(new_id)
    assert (old["quantity"], old["reserved_quantity"]) == (6, 0)
    times = {"created_at": new["created_at"], "updated_at": new["updated_at"]}
    assert new == yard.pump | {"id": new_id, "quantity": 4, "location_id": yard.site} | times
    assert await _moves(connection, completed["id"]) == [(yard.pump["id"], -4), (new_id, 4)]

    events = await _told(connection)
    assert [(event, data.get("itemId")) for event, data in events] == [
        ("transfer-completed", yard.pump["id"]),
        ("item-updated", yard.pump["id"]),
        ("low-stock-alert", yard.pump["id"]),
        ("item-created", new_id),
        ("low-stock-alert", new_id),
    ]
    assert events[0][1]["status"] == "completed"
    assert events[1][1]["changes"] == {"quantity": {"from": 10, "to": 6}, "reserved_quantity": {"from": 4, "to": 0}}
    assert (events[3][1]["quantity"], events[3][1]["location_id"]) == (4, yard.site)
    assert (events[4][1]["currentStock"], events[4][1]["minStock"]) == (4, 7)


async def test_units_go_into_the_item_of_the_same_sku(yard: Yard, connection: Connection) -> None:
    await yard.admin.make("/items", name="Pump", location_id=yard.site)
    same = await yard.admin.make("/items", name="Pumpe", sku="HP-1", quantity=20, location_id=yard.site)
    transfer = await yard.request(quantity=2)
    await yard.step(transfer, "approve")
    await take_events(connection)

    completed = (await yard.step(transfer, "complete")).body

    assert completed["to_item_id"] == same["id"]
    assert (await yard.units(), await yard.units(same["id"])) == ((8, 0), (22, 0))
    assert [(event, data["itemId"]) for event, data in await _told(connection)] == [
        ("transfer-completed", yard.pump["id"]),
        ("item-updated", yard.pump["id"]),
        ("item-updated", same["id"]),
    ]
    assert await _moves(connection, completed["id"]) == [(yard.pump["id"], -2), (same["id"], 2)]


async def test_without_the_sku_the_name_decides(yard: Yard) -> None:
    items: list[tuple[dict[str, Any], bool]] = [
        ({"name": "Pump"}, True),
        ({"name": "Pump", "sku": "OTHER"}, False),
        ({"name": "Drill"}, False),
        ({"name": "Pump", "serial_number": "S-9"}, False),
        ({"name": "Pump", "status": "retired"}, False),
        ({"name": "Pump", "status": "checked_out"}, True),
    ]
    for fields, joined in items:
        place = (await yard.admin.make("/locations", name=f"{fields}"))["id"]
        there = await yard.admin.make("/items", location_id=place, **fields)
        completed = await _complete(yard, to_location_id=place, quantity=1)
        arrived = await yard.item(completed["to_item_id"])
        assert (arrived["id"] == there["id"]) is joined, fields
        assert (arrived["quantity"], arrived["location_id"], arrived["status"]) == (1, place, "available")


async def test_an_item_with_a_serial_number_moves_itself(api: Api, sign_up: SignUp, connection: Connection) -> None:
    yard = await open_yard(api, sign_up, quantity=1, min_quantity=0, serial_number="S-1")
    await yard.admin.make("/items", name="Pump", quantity=3, location_id=yard.site)
    transfer = await yard.request(quantity=1)
    await yard.step(transfer, "approve")
    await take_events(connection)

    completed = (await yard.step(transfer, "complete")).body

    item = await yard.item()
    assert completed["to_item_id"] == item["id"]
    assert item == yard.pump | {"location_id": yard.site, "updated_at": item["updated_at"]}
    assert await _moves(connection, completed["id"]) == []
    (first, _), (second, data) = await _told(connection)
    assert (first, second) == ("transfer-completed", "item-updated")
    assert data["changes"] == {
        "reserved_quantity": {"from": 1, "to": 0},
        "location_id": {"from": yard.depot, "to": yard.site},
    }


@pytest.mark.parametrize(
    ("moved", "there", "why"),
    [
        ({"quantity": 1, "serial_number": "S-1"}, {"sku": "HP-1"}, "another item at the destination has its sku HP-1"),
        ({}, {"sku": "HP-1", "quantity": 1, "serial_number": "S-2"}, "has a serial number, which names one unit"),
        ({}, {"sku": "HP-1", "status": "lost"}, "is lost"),
        ({}, {"sku": "HP-1", "quantity": 2**31 - 1}, "more than 2147483647 cannot be"),
    ],
)
async def test_units_that_cannot_arrive_stay_reserved_where_they_are(
    moved: dict[str, Any], there: dict[str, Any], why: str, api: Api, sign_up: SignUp, connection: Connection
) -> None:
    yard = await open_yard(api, sign_up, **moved)
    await yard.admin.make("/items", name="There", location_id=yard.site, **there)
    transfer = await yard.request(quantity=1)
    await yard.step(transfer, "approve")
    await take_events(connection)

    answer = await yard.step(transfer, "complete")

    assert answer.status == 409
    assert why in answer.body["detail"]
    assert await yard.units() == (yard.pump["quantity"], 1)
    assert await take_events(connection) == []
    assert (await yard.step(transfer, "cancel")).status == 200


async def test_units_of_an_item_that_was_moved_away_do_not_arrive(yard: Yard) -> None:
    transfer = await yard.request()
    await yard.step(transfer, "approve")
    for place in (None, yard.site):
        assert (await yard.admin.put(f"/items/{yard.pump['id']}/location", {"location_id": place})).status == 200
        answer = await yard.step(transfer, "complete")
        assert (answer.status, "no longer at the location" in answer.body["detail"]) == (409, True)
    assert (await yard.step(transfer, "cancel")).status == 200
    assert await yard.units() == (10, 0)


async def test_of_arrivals_at_once_the_first_makes_the_item_that_the_others_join(api: Api, sign_up: SignUp) -> None:
    yard = await open_yard(api, sign_up, sku=None)
    transfers = [await yard.request(quantity=2) for _ in range(5)]
    for transfer in transfers:
        await yard.step(transfer, "approve")

    answers = await asyncio.gather(*(yard.step(transfer, "complete") for transfer in transfers))

    assert [answer.status for answer in answers] == [200] * 5
    (joined,) = {answer.body["to_item_id"] for answer in answers}
    assert (await yard.units(), await yard.units(joined)) == ((0, 0), (10, 0))


async def test_transfers_there_and_back_at_once_do_not_wait_for_each_other(yard: Yard) -> None:
    there = await yard.admin.make("/items", name="Pump", sku="HP-1", quantity=10, location_id=yard.site)
    back = {"item_id": there["id"], "from_location_id": yard.site, "to_location_id": yard.depot}
    transfers = [await yard.request(quantity=1, **way) for _ in range(5) for way in ({}, back)]
    for transfer in transfers:
        await yard.step(transfer, "approve")

    answers = await asyncio.gather(*(yard.step(transfer, "complete") for transfer in transfers))

    assert [answer.status for answer in answers] == [200] * 10
    assert (await yard.units(), await yard.units(there["id"])) == ((10, 0), (10, 0))


@pytest.mark.parametrize("edit", ["set sku = null, name = 'Drill'", "set location_id = null"])
async def test_units_do_not_join_an_item_that_ceases_to_be_of_their_kind(
    edit: str, yard: Yard, connection: Connection, somebody_waits: SomebodyWaits
) -> None:
    there = await yard.admin.make("/items", name="Pump", sku="HP-1", quantity=3, location_id=yard.site)
    transfer = await yard.request()
    await yard.step(transfer, "approve")

    async with connection.transaction():
        await connection.execute(f"update items {edit} where id = $1", there["id"])
        completion = asyncio.create_task(yard.step(transfer, "complete"))
        await somebody_waits()

    assert (await completion).status == 409
    assert (await yard.units(), await yard.units(there["id"])) == ((10, 4), (3, 0))
    assert (await yard.step(transfer, "complete")).status == 200


async def test_units_do_not_make_a_second_item_of_a_sku_that_just_came_to_be(
    yard: Yard, connection: Connection, somebody_waits: SomebodyWaits
) -> None:
    transfer = await yard.request()
    await yard.step(transfer, "approve")

    async with connection.transaction():
        await connection.execute("insert into items (name, sku, location_id) values ('Pump', 'HP-1', $1)", yard.site)
        completion = asyncio.create_task(yard.step(transfer, "complete"))
        await somebody_waits()

    answer = await completion
    assert (answer.status, "at the same moment" in answer.body["detail"]) == (409, True)
    assert (await yard.step(transfer, "complete")).status == 200


async def test_a_completion_that_fails_when_it_commits_leaves_nothing(yard: Yard, connection: Connection) -> None:
    transfer = await yard.request()
    await yard.step(transfer, "approve")
    await take_events(connection)
    await refuse_commits(connection)

    assert (await yard.step(transfer, "complete")).status == 500

    assert (await yard.admin.get(f"/transfers/{transfer['id']}")).body["status"] == "approved"
    assert await yard.units() == (10, 4)
    assert len((await yard.admin.get("/items")).body) == 1
    assert await take_events(connection) == []
    assert await _moves(connection, transfer["id"]) == []
