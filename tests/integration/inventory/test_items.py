"""Items over HTTP: create, change, move and delete, with the events of each, and refusals."""

from typing import Any
from uuid import uuid4

import orjson
import pytest

from tests.support.api.caller import Caller
from tests.support.api.outbox import stored, take_events
from tests.support.database import Connection
from tests.support.formats import TIME

ODD = 'Hydraulic “Pump” ½ 漢字 \u2028 "quoted" \\ </script>'


async def test_a_created_item_has_all_its_fields_and_is_read_back_unchanged(admin: Caller) -> None:
    place = await admin.make("/locations", name="Depot")
    kind = await admin.make("/categories", name="Pumps")
    sent = {
        "name": ODD,
        "sku": "HP-½",
        "serial_number": 'S "1"',
        "description": ODD * 20,
        "quantity": 1,
        "min_quantity": 0,
        "condition": "new",
        "status": "maintenance",
        "purchase_date": "2024-02-29",
        "category_id": kind["id"],
        "location_id": place["id"],
        "attributes": {"z": [1, 2.5, None, {"ü": ODD}], "a": {"10": True, "9": False}, "__proto__": ""},
    }

    created = await admin.make("/items", **sent)

    assert list(created) == [
        "id",
        "name",
        "sku",
        "serial_number",
        "description",
        "quantity",
        "reserved_quantity",
        "min_quantity",
        "condition",
        "status",
        "purchase_date",
        "category_id",
        "location_id",
        "attributes",
        "created_at",
        "updated_at",
    ]
    assert {name: created[name] for name in sent} == sent
    assert orjson.dumps(created["attributes"]) == orjson.dumps(sent["attributes"])
    assert created["reserved_quantity"] == 0
    assert TIME.fullmatch(created["created_at"])
    assert created["updated_at"] == created["created_at"]
    assert (await admin.get(f"/items/{created['id']}")).body == created


async def test_a_date_may_come_as_javascript_writes_it(admin: Caller) -> None:
    item = await admin.make("/items", name="Pump", purchase_date="2024-02-29T23:30:00.123Z")
    assert item["purchase_date"] == "2024-02-29"
    moved = await admin.put(f"/items/{item['id']}", {"purchase_date": "2024-03-01T00:30:00+02:00"})
    assert moved.body["purchase_date"] == "2024-02-29"


async def test_only_a_name_is_needed(admin: Caller) -> None:
    created = await admin.make("/items", name="Pump")

    assert (created["quantity"], created["min_quantity"], created["condition"], created["status"]) == (
        0,
        5,
        "good",
        "available",
    )
    assert created["attributes"] == {}
    assert [name for name, value in created.items() if value is None] == [
        "sku",
        "serial_number",
        "description",
        "purchase_date",
        "category_id",
        "location_id",
    ]


async def test_a_creation_writes_its_event_and_its_alert_in_that_order(admin: Caller, connection: Connection) -> None:
    place = await admin.make("/locations", name="Depot")
    kind = await admin.make("/categories", name="Pumps")
    await take_events(connection)

    item = await admin.make("/items", name=ODD, sku="HP-1", quantity=3, category_id=kind["id"], location_id=place["id"])

    ids = {"location_id": place["id"], "category_id": kind["id"]}
    assert await take_events(connection) == [
        stored("item-created", itemId=item["id"], name=ODD, sku="HP-1", quantity=3, **ids),
        stored(
            "low-stock-alert",
            itemId=item["id"],
            name=ODD,
            sku="HP-1",
            currentStock=3,
            minStock=5,
            **ids,
            alert=f"Low stock: {ODD} has 3 left, minimum is 5",
        ),
    ]


async def test_a_creation_with_enough_stock_alerts_nobody(admin: Caller, connection: Connection) -> None:
    await admin.make("/items", name="Pump", quantity=5)

    assert [event for event, _ in await take_events(connection)] == ["item-created"]


async def test_an_update_tells_every_changed_field(admin: Caller, connection: Connection) -> None:
    kind = await admin.make("/categories", name="Pumps")
    item = await admin.make("/items", name="Pump", quantity=10, attributes={"b": 1, "a": "x"})
    await take_events(connection)

    answer = await admin.put(
        f"/items/{item['id']}",
        {
            "name": "Big pump",
            "sku": "HP-1",
            "description": ODD,
            "quantity": 9,
            "min_quantity": 8,
            "condition": "fair",
            "status": "retired",
            "purchase_date": "2024-01-31",
            "category_id": kind["id"],
            "attributes": {"a": 1.5, "b": [ODD]},
        },
    )

    assert answer.status == 200
    assert await take_events(connection) == [
        stored(
            "item-updated",
            itemId=item["id"],
            name="Big pump",
            sku="HP-1",
            quantity=9,
            location_id=None,
            category_id=kind["id"],
            changes={
                "name": {"from": "Pump", "to": "Big pump"},
                "sku": {"from": None, "to": "HP-1"},
                "description": {"from": None, "to": ODD},
                "quantity": {"from": 10, "to": 9},
                "min_quantity": {"from": 5, "to": 8},
                "condition": {"from": "good", "to": "fair"},
                "status": {"from": "available", "to": "retired"},
                "purchase_date": {"from": None, "to": "2024-01-31"},
                "category_id": {"from": None, "to": kind["id"]},
                "attributes": {
                    "from": '{"b":1,"a":"x"}',
                    "to": orjson.dumps({"a": 1.5, "b": [ODD]}).decode(),
                },
            },
        )
    ]


async def test_an_update_keeps_what_was_not_sent_and_empties_what_was_null(admin: Caller) -> None:
    item = await admin.make("/items", name="Pump", sku="HP-1", description="old", quantity=10)

    answer = await admin.put(
        f"/items/{item['id']}",
        {"description": None, "quantity": 9, "id": str(uuid4()), "reserved_quantity": 3, "created_at": "x"},
    )

    assert answer.status == 200
    assert TIME.fullmatch(answer.body["updated_at"])
    assert {**answer.body, "updated_at": ""} == {**item, "description": None, "quantity": 9, "updated_at": ""}


async def test_an_update_that_changes_nothing_writes_nothing(admin: Caller, connection: Connection) -> None:
    item = await admin.make("/items", name="Pump", sku="HP-1", quantity=3, attributes={"a": 1})
    await take_events(connection)
    records = await connection.fetchval("select count(*) from audit")

    for unchanged in (item, {}, {"quantity": 3}):
        answer = await admin.put(f"/items/{item['id']}", unchanged)
        assert (answer.status, answer.body) == (200, item)

    assert await take_events(connection) == []
    assert await connection.fetchval("select count(*) from audit") == records


async def test_each_change_of_stock_or_minimum_that_leaves_too_little_alerts_again(
    admin: Caller, connection: Connection
) -> None:
    item = await admin.make("/items", name="Pump", quantity=10)
    await take_events(connection)

    for change, alerts in (
        ({"quantity": 4}, True),
        ({"quantity": 3}, True),
        ({"name": "Old pump"}, False),
        ({"min_quantity": 4}, True),
        ({"min_quantity": 3}, False),
        ({"quantity": 2, "name": "Pump"}, True),
    ):
        assert (await admin.put(f"/items/{item['id']}", change)).status == 200
        written = [event for event, _ in await take_events(connection)]
        assert written == (["item-updated", "low-stock-alert"] if alerts else ["item-updated"]), change


@pytest.mark.parametrize("key", ["location_id", "locationId"])
async def test_a_move_is_an_update_of_the_location(admin: Caller, connection: Connection, key: str) -> None:
    depot, site = [(await admin.make("/locations", name=name))["id"] for name in ("Depot", "Site")]
    item = await admin.make("/items", name="Pump", quantity=1, location_id=depot)
    await take_events(connection)

    answer = await admin.put(f"/items/{item['id']}/location", {key: site})

    assert (answer.status, answer.body["location_id"]) == (200, site)
    assert await take_events(connection) == [
        stored(
            "item-updated",
            itemId=item["id"],
            name="Pump",
            sku=None,
            quantity=1,
            location_id=site,
            category_id=None,
            changes={"location_id": {"from": depot, "to": site}},
        )
    ]


async def test_a_deletion_tells_what_was_there(admin: Caller, connection: Connection) -> None:
    item = await admin.make("/items", name="Pump", sku="HP-1", quantity=10)
    await take_events(connection)

    assert (await admin.delete(f"/items/{item['id']}")).status == 204

    assert (await admin.get(f"/items/{item['id']}")).status == 404
    assert await take_events(connection) == [
        stored("item-deleted", itemId=item["id"], name="Pump", sku="HP-1", location_id=None, category_id=None)
    ]
    assert (await admin.delete(f"/items/{item['id']}")).status == 404


async def test_the_audit_trail_has_who_did_what_and_the_events_of_it(admin: Caller, connection: Connection) -> None:
    item = await admin.make("/items", name="Pump", quantity=3)
    changed = (await admin.put(f"/items/{item['id']}", {"name": "Big pump"})).body
    await admin.delete(f"/items/{item['id']}")

    records = await connection.fetch("select * from audit order by at")
    seen = [
        (r["action"], r["before"] and orjson.loads(r["before"]), r["after"] and orjson.loads(r["after"]))
        for r in records
    ]
    assert seen == [("create", None, item), ("update", item, changed), ("delete", changed, None)]
    assert {(r["actor_id"], r["entity"], str(r["entity_id"])) for r in records} == {
        (admin.token.user_id, "item", item["id"])
    }
    written = await connection.fetch("select id from outbox order by seq")
    assert [event_id for r in records for event_id in r["event_ids"]] == [row["id"] for row in written]
    assert [len(r["event_ids"]) for r in records] == [2, 1, 1]


async def test_an_item_with_a_serial_number_has_a_minimum_of_none_unless_one_is_said(
    admin: Caller, connection: Connection
) -> None:
    await take_events(connection)
    plain = await admin.make("/items", name="Pump", quantity=9)
    unit = await admin.make("/items", name="Drill", quantity=1, serial_number="S-1")
    saw = await admin.make("/items", name="Saw", quantity=1, serial_number="S-2", min_quantity=1)
    assert [item["min_quantity"] for item in (plain, unit, saw)] == [5, 0, 1]
    # A serialised item has no minimum of five, so its absence alerts nobody.
    await admin.put(f"/items/{unit['id']}", {"quantity": 0})
    assert "low-stock-alert" not in [event for event, _ in await take_events(connection)]
    low = await admin.put(f"/items/{saw['id']}", {"quantity": 0})
    assert low.status == 200
    assert "low-stock-alert" in [event for event, _ in await take_events(connection)]


async def test_an_item_that_gets_a_serial_number_loses_the_usual_minimum_and_no_other(admin: Caller) -> None:
    cases: tuple[tuple[dict[str, Any], dict[str, Any], int], ...] = (
        ({}, {}, 0),
        ({"min_quantity": 1}, {}, 1),
        ({}, {"min_quantity": 5}, 5),
        ({"serial_number": "S", "min_quantity": 5}, {}, 5),
    )
    for number, (before, sent, after) in enumerate(cases):
        item = await admin.make("/items", name="Drill", quantity=1, **before)
        changed = await admin.put(f"/items/{item['id']}", {"serial_number": f"S-{number}", **sent})
        assert changed.body["min_quantity"] == after
