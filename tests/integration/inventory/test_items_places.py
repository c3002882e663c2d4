"""The present and past locations of items, and categories as a tree."""

import pytest

from tests.support.api.caller import Api, Caller, SignUp
from tests.support.database import Connection


def place(location: dict[str, str] | None, quantity: int, reserved: int = 0) -> dict[str, object]:
    return {
        "location_id": location and location["id"],
        "location_name": location and location["name"],
        "quantity": quantity,
        "reserved_quantity": reserved,
        "available": quantity - reserved,
    }


async def test_the_summary_says_where_there_is_the_same_sku(
    api: Api, admin: Caller, sign_up: SignUp, connection: Connection
) -> None:
    yard, depot = await admin.make("/locations", name="Yard"), await admin.make("/locations", name="Depot")
    foreman = Caller(api, await sign_up("foreman"))
    await admin.post(f"/locations/{depot['id']}/foremen", {"user_id": str(foreman.token.user_id)})
    here = await admin.make("/items", name="Pump", sku="P-1", quantity=5, location_id=depot["id"])
    there = await admin.make("/items", name="Pump, other name", sku="P-1", quantity=7, location_id=yard["id"])
    await admin.make("/items", name="Spare", sku="P-1", quantity=1)
    await admin.make("/items", name="Pump", quantity=100, location_id=yard["id"])
    await connection.execute("update items set reserved_quantity = 2 where name = 'Pump' and sku = 'P-1'")

    summary = await admin.get(f"/items/{here['id']}/location-summary")
    assert summary.body == {
        "item_id": here["id"],
        "name": "Pump",
        "sku": "P-1",
        "locations": [place(depot, 5, 2), place(yard, 7), place(None, 1)],
        "totals": {"quantity": 13, "reserved_quantity": 2, "available": 11},
    }
    narrowed = await foreman.get(f"/items/{here['id']}/location-summary")
    assert narrowed.body["locations"] == [place(depot, 5, 2), place(None, 1)]
    assert narrowed.body["totals"]["quantity"] == 6
    assert (await foreman.get(f"/items/{there['id']}/location-summary")).status == 403
    assert (await admin.get("/items/nowhere/location-summary")).status == 404


@pytest.mark.parametrize("empty", ["", None])
async def test_an_empty_location_name_takes_an_item_from_its_place(admin: Caller, empty: str | None) -> None:
    depot = await admin.make("/locations", name="Depot")
    item = await admin.make("/items", name="Pump", location_id=depot["id"])
    path = f"/items/{item['id']}"
    # If both are given, the id counts.
    both = await admin.put(path, {"location_id": depot["id"], "location_name": empty})
    assert (both.status, both.body["location_id"]) == (200, depot["id"])
    assert (await admin.put(path, {"name": "Pump 2"})).body["location_id"] == depot["id"]
    emptied = await admin.put(path, {"location_name": empty})
    assert (emptied.status, emptied.body["location_id"]) == (200, None)
    assert (await admin.make("/items", name="Hose", location_name=empty))["location_id"] is None
    made = await admin.make("/items", name="Hose", location_name=empty, location_id=depot["id"])
    assert made["location_id"] == depot["id"]
    operation = {"op": "update", "id": made["id"], "item": {"location_name": empty}}
    assert (await admin.post("/items/bulk", {"operations": [operation]})).status == 200
    assert (await admin.get(f"/items/{made['id']}")).body["location_id"] is None


async def test_without_a_sku_the_same_name_is_the_same(api: Api, admin: Caller, sign_up: SignUp) -> None:
    depot = await admin.make("/locations", name="Depot")
    one = await admin.make("/items", name="Rope", quantity=2, location_id=depot["id"])
    await admin.make("/items", name="Rope", quantity=3, location_id=depot["id"])
    await admin.make("/items", name="Rope", sku="R", quantity=50, location_id=depot["id"])
    worker = Caller(api, await sign_up("worker"))
    summary = (await worker.get(f"/items/{one['id']}/location-summary")).body
    assert summary["locations"] == [place(depot, 5)]


async def test_the_history_says_where_an_item_has_been_and_who_moved_it(
    api: Api, admin: Caller, sign_up: SignUp
) -> None:
    yard, depot = await admin.make("/locations", name="Yard"), await admin.make("/locations", name="Depot")
    foreman = Caller(api, await sign_up("foreman"))
    await admin.post(f"/locations/{depot['id']}/foremen", {"user_id": str(foreman.token.user_id)})
    item = await admin.make("/items", name="Pump", location_id=yard["id"])
    path = f"/items/{item['id']}/location-history"
    await admin.put(f"/items/{item['id']}", {"quantity": 4})
    await admin.put(f"/items/{item['id']}/location", {"location_id": None})
    await admin.put(f"/items/{item['id']}", {"location_id": depot["id"]})

    history = await admin.get(path)
    assert [(move["from_location_id"], move["to_location_id"], move["reason"]) for move in history.body] == [
        (None, depot["id"], "update"),
        (yard["id"], None, "move"),
        (None, yard["id"], "create"),
    ]
    assert {move["by"]["username"] for move in history.body} == {"admin0"}
    assert history.headers["X-Total-Count"] == "3"
    assert [move["reason"] for move in (await admin.get(path, skip="1", limit="1")).body] == ["move"]
    assert [move["reason"] for move in (await foreman.get(path)).body] == ["update"]
    await admin.put(f"/items/{item['id']}/location", {"location_id": yard["id"]})
    assert (await foreman.get(path)).status == 403
    assert (await admin.get("/items/nowhere/location-history")).status == 404


async def test_a_transfer_that_moves_an_item_whole_is_in_its_history_and_its_audit(api: Api, admin: Caller) -> None:
    yard, depot = [(await admin.make("/locations", name=name))["id"] for name in ("Yard", "Depot")]
    item = await admin.make("/items", name="Drill", serial_number="S-1", quantity=1, location_id=yard)
    asked = {"item_id": item["id"], "from_location_id": yard, "to_location_id": depot, "quantity": 1}
    transfer = await admin.make("/transfers", **asked)
    for step in ("approve", "complete"):
        assert (await admin.post(f"/transfers/{transfer['id']}/{step}", {})).status == 200

    history = (await admin.get(f"/items/{item['id']}/location-history")).body
    assert [(move["from_location_id"], move["to_location_id"], move["reason"]) for move in history] == [
        (yard, depot, "complete"),
        (None, yard, "create"),
    ]
    entries = (await admin.get("/audit", entity="item", entity_id=item["id"])).body
    assert [entry["action"] for entry in entries] == ["complete", "request", "create"]
    assert (entries[0]["before"]["location_id"], entries[0]["after"]["location_id"]) == (yard, depot)


async def test_categories_come_as_a_tree(api: Api, admin: Caller, sign_up: SignUp) -> None:
    tools = await admin.make("/categories", name="Tools")
    await admin.make("/categories", name="Saws", parent_id=tools["id"])
    hammers = await admin.make("/categories", name="hammers", parent_id=tools["id"])
    await admin.make("/categories", name="Mallets", parent_id=hammers["id"])
    await admin.make("/categories", name="Consumables")
    worker = Caller(api, await sign_up("worker"))

    def names(nodes: list[dict[str, object]]) -> list[object]:
        return [[node["name"], names(node["children"])] for node in nodes]  # type: ignore[arg-type]  # a list, as below

    tree = (await worker.get("/categories/tree")).body
    assert names(tree) == [["Consumables", []], ["Tools", [["hammers", [["Mallets", []]]], ["Saws", []]]]]
    assert tree[1]["children"][0]["parent_id"] == tools["id"]
