"""Contract, section 1: the events of items, and low-stock-alert. Each row of the table is tested by
what a receiver gets."""

from typing import Any

import pytest

from tests.support.contract.client import Client, unique
from tests.support.contract.ears import Listen

ITEM = ["itemId", "name", "sku", "quantity", "location_id", "category_id"]
ALERT = ["itemId", "name", "sku", "currentStock", "minStock", "location_id", "category_id", "alert"]


async def test_item_created_when_an_item_is_created(admin: Client, listen: Listen) -> None:
    """`item-created` | an item is created | itemId, name, sku, quantity, location_id,
    category_id"""
    ears = await listen(admin, ["item-created"])
    location, category = await admin.location(), await admin.category()
    item = await admin.item(sku="S-1", quantity=7, location_id=location, category_id=category)
    data = await ears.data("item-created", itemId=item["id"])
    assert list(data) == ITEM
    assert data == {
        "itemId": item["id"],
        "name": item["name"],
        "sku": "S-1",
        "quantity": 7,
        "location_id": location,
        "category_id": category,
    }


@pytest.mark.parametrize(
    ("field", "before", "after"),
    [
        ("name", "Pump", "Pump 2"),
        ("sku", None, "P-2"),
        ("serial_number", None, "a serial number"),
        ("description", None, "Of bronze"),
        ("quantity", 1, 0),
        ("min_quantity", 0, 3),
        ("condition", "good", "damaged"),
        ("status", "available", "maintenance"),
        ("purchase_date", None, "2026-02-18"),
    ],
)
async def test_item_updated_by_an_edit_has_each_field_that_changed(
    admin: Client, listen: Listen, field: str, before: Any, after: Any
) -> None:
    """`item-updated` | an item changes: edit | the same, and `changes`: `{field: {from, to}}`"""
    ears = await listen(admin, ["item-updated"])
    after = unique(after) if field in {"sku", "serial_number"} else after
    item = await admin.item(name="Pump", quantity=1, min_quantity=0)
    await admin.put(f"/items/{item['id']}", {field: after})
    data = await ears.data("item-updated", itemId=item["id"])
    assert list(data) == [*ITEM, "changes"]
    assert data["changes"] == {field: {"from": before, "to": after}}
    assert list(data["changes"][field]) == ["from", "to"]
    for name in set(ITEM) & {field}:
        assert data[name] == after


async def test_item_updated_names_all_fields_of_one_edit_and_none_that_stayed(admin: Client, listen: Listen) -> None:
    """`changes`: `{field: {from, to}}` for each field that changed"""
    ears = await listen(admin, ["item-updated"])
    category = await admin.category()
    item = await admin.item(quantity=9, condition="good")
    change = {"quantity": 8, "condition": "good", "category_id": category, "status": "retired"}
    await admin.put(f"/items/{item['id']}", change)
    data = await ears.data("item-updated", itemId=item["id"])
    assert data["changes"] == {
        "quantity": {"from": 9, "to": 8},
        "category_id": {"from": None, "to": category},
        "status": {"from": "available", "to": "retired"},
    }


async def test_item_updated_by_a_move(admin: Client, listen: Listen) -> None:
    """`item-updated` | an item changes: move"""
    ears = await listen(admin, ["item-updated"])
    location = await admin.location()
    item = await admin.item()
    await admin.put(f"/items/{item['id']}/location", {"location_id": location})
    data = await ears.data("item-updated", itemId=item["id"])
    assert data["location_id"] == location
    assert data["changes"] == {"location_id": {"from": None, "to": location}}


async def test_item_updated_by_a_count(admin: Client, listen: Listen) -> None:
    """`item-updated` | an item changes: count"""
    ears = await listen(admin, ["item-updated"])
    item = await admin.item(quantity=20)
    await admin.put(f"/items/{item['id']}", {"quantity": 18})
    data = await ears.data("item-updated", itemId=item["id"])
    assert (data["quantity"], data["changes"]) == (18, {"quantity": {"from": 20, "to": 18}})


async def test_item_updated_carries_attributes_as_one_json_string(admin: Client, listen: Listen) -> None:
    """Section 2: free-form attributes inside `changes` travel as one JSON string."""
    ears = await listen(admin, ["item-updated"])
    item = await admin.item(attributes={"1": 1.50, "a": [None]})
    await admin.put(f"/items/{item['id']}", {"attributes": {"2": 0.25, "__proto__": {}}})
    change = (await ears.data("item-updated", itemId=item["id"]))["changes"]["attributes"]
    assert isinstance(change["from"], str)
    assert isinstance(change["to"], str)
    assert '"__proto__"' in change["to"]


async def test_an_edit_that_changes_nothing_writes_no_event(admin: Client, listen: Listen) -> None:
    """`item-updated` | an item changes"""
    ears = await listen(admin, ["item-updated"])
    item = await admin.item(quantity=4)
    await admin.put(f"/items/{item['id']}", {"quantity": 4, "name": item["name"]})
    assert await ears.events(itemId=item["id"]) == []


async def test_item_deleted_when_an_item_is_removed(admin: Client, listen: Listen) -> None:
    """`item-deleted` | an item is removed | itemId, name, sku, location_id, category_id"""
    ears = await listen(admin, ["item-deleted"])
    location = await admin.location()
    item = await admin.item(sku="D-1", location_id=location)
    await admin.delete(f"/items/{item['id']}")
    data = await ears.data("item-deleted", itemId=item["id"])
    assert list(data) == ["itemId", "name", "sku", "location_id", "category_id"]
    assert data == {
        "itemId": item["id"],
        "name": item["name"],
        "sku": "D-1",
        "location_id": location,
        "category_id": None,
    }


async def test_low_stock_alert_on_creation_below_the_minimum(admin: Client, listen: Listen) -> None:
    """`low-stock-alert` | a mutation (creation too) … leaves quantity < min_quantity"""
    ears = await listen(admin, ["low-stock-alert", "item-created"])
    location, category = await admin.location(), await admin.category()
    item = await admin.item(quantity=2, min_quantity=6, sku="L-1", location_id=location, category_id=category)
    data = await ears.data("low-stock-alert", itemId=item["id"])
    assert list(data) == ALERT
    assert data | {"alert": ""} == {
        "itemId": item["id"],
        "name": item["name"],
        "sku": "L-1",
        "currentStock": 2,
        "minStock": 6,
        "location_id": location,
        "category_id": category,
        "alert": "",
    }
    assert " " in data["alert"]
    assert [event["eventType"] for event in await ears.events(itemId=item["id"])] == ["item-created", "low-stock-alert"]


async def test_low_stock_alert_by_a_changed_quantity_or_minimum_each_time_again(admin: Client, listen: Listen) -> None:
    """`low-stock-alert` | changes an item's quantity or minimum …; each such mutation alerts
    again"""
    ears = await listen(admin, ["low-stock-alert"])
    item = await admin.item(quantity=10, min_quantity=5)
    for change in ({"quantity": 4}, {"quantity": 3}, {"min_quantity": 6}):
        await admin.put(f"/items/{item['id']}", change)
    found = [
        (event["data"]["currentStock"], event["data"]["minStock"]) for event in await ears.events(itemId=item["id"])
    ]
    assert found == [(4, 5), (3, 5), (3, 6)]


async def test_no_low_stock_alert_at_the_minimum_or_where_neither_figure_changed(admin: Client, listen: Listen) -> None:
    """`low-stock-alert` | … changes quantity or minimum and leaves quantity < min_quantity"""
    ears = await listen(admin, ["low-stock-alert"])
    item = await admin.item(quantity=5, min_quantity=5)
    await admin.put(f"/items/{item['id']}", {"quantity": 4})
    await admin.put(f"/items/{item['id']}", {"name": "Another name", "quantity": 4})
    await admin.put(f"/items/{item['id']}/location", {"location_id": await admin.location()})
    await admin.put(f"/items/{item['id']}", {"quantity": 5})
    found = [event["data"]["currentStock"] for event in await ears.events(itemId=item["id"])]
    assert found == [4]


async def test_a_refused_mutation_writes_no_event(admin: Client, listen: Listen) -> None:
    """A mutation and its events commit or roll back together."""
    ears = await listen(admin, ["item-created", "item-updated", "low-stock-alert"])
    location = await admin.location()
    item = await admin.item(sku="R-1", location_id=location)
    refused = await admin.ask("POST", "/items", {"name": "Twin", "sku": "R-1", "location_id": location, "quantity": 0})
    refused.problem(409)
    other = await admin.item(sku="R-2", location_id=location)
    (await admin.ask("PUT", f"/items/{other['id']}", {"sku": "R-1", "quantity": 1})).problem(409)
    events = await ears.events(location_id=location)
    assert [(event["eventType"], event["data"]["itemId"]) for event in events] == [
        ("item-created", item["id"]),
        ("item-created", other["id"]),
    ]
