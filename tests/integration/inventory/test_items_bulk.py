"""Many items in one request."""

import asyncio
from typing import Any
from uuid import uuid4

import orjson

from service.inventory.bulk_routes import MAX_BYTES, MAX_OPERATIONS
from tests.support.api.caller import Caller
from tests.support.api.outbox import take_events
from tests.support.database import Connection


def create(**item: Any) -> dict[str, Any]:
    return {"op": "create", "item": item}


async def _items(connection: Connection) -> list[tuple[str, int]]:
    return [tuple(row) for row in await connection.fetch("select name, quantity from items order by id")]


async def test_all_are_done_in_one_transaction_with_the_events_of_each_in_order(
    admin: Caller, connection: Connection
) -> None:
    old = await admin.make("/items", name="old", quantity=9)
    await take_events(connection)
    answer = await admin.post(
        "/items/bulk",
        {
            "operations": [
                create(name="new", quantity=1, color="red"),
                {"op": "count", "id": old["id"], "quantity": 3},
                {"op": "update", "id": old["id"], "item": {"name": "older", "quantity": "7"}},
                create(name="last", quantity=8),
            ]
        },
    )
    assert answer.status == 200, answer.body
    assert (answer.body["succeeded"], answer.body["failed"]) == (4, 0)
    results = answer.body["results"]
    assert [(one["index"], one["status"], one["problem"]) for one in results] == [
        (0, 201, None),
        (1, 200, None),
        (2, 200, None),
        (3, 201, None),
    ]
    assert results[1]["id"] == results[2]["id"] == old["id"]
    assert answer.headers["X-Ignored-Fields"] == "operations[].item.color"
    assert await _items(connection) == [("older", 7), ("new", 1), ("last", 8)]
    events = [(type, orjson.loads(data)["name"]) for type, data in await take_events(connection)]
    assert events == [
        ("item-created", "new"),
        ("low-stock-alert", "new"),
        ("item-updated", "old"),
        ("low-stock-alert", "old"),
        ("item-updated", "older"),
        ("item-created", "last"),
    ]
    audited = await connection.fetch(
        "select action, cardinality(event_ids) as events from audit where at > (select min(at) from audit) order by at, id"
    )
    assert [tuple(row) for row in audited] == [("create", 2), ("count", 2), ("update", 1), ("create", 1)]


async def test_one_that_is_refused_undoes_all(admin: Caller, connection: Connection) -> None:
    await admin.make("/items", name="old", sku="A")
    before = await connection.fetchval("select count(*) from outbox")
    answer = await admin.post(
        "/items/bulk",
        {
            "operations": [
                create(name="x"),
                create(name="y", sku="A"),
                create(name=" "),
                {"op": "count", "id": str(uuid4()), "quantity": 1},
            ]
        },
    )
    assert answer.status == 409
    assert answer.pointers == ["/operations/1/item/sku", "/operations/2/item/name", "/operations/3"]
    assert answer.body["failed"] == 3
    assert [(one["index"], one["status"]) for one in answer.body["results"]] == [(1, 409), (2, 400), (3, 404)]
    assert answer.body["detail"].startswith("nothing was done, as operation 1 cannot be (and 2 more): ")
    assert await _items(connection) == [("old", 0)]
    assert await connection.fetchval("select count(*) from outbox") == before


async def test_each_by_itself_leaves_out_those_that_are_refused(admin: Caller, connection: Connection) -> None:
    answer = await admin.post(
        "/items/bulk",
        {
            "mode": "each",
            "operations": [
                create(name="a", sku="A"),
                create(name="b", sku="A"),
                {"op": "burn", "id": "x"},
                7,
                {"op": "update", "id": "x", "item": {}},
                create(name="c", minQuantity=3),
                create(name="d", serial_number="S", quantity=2),
                create(name="e", attributes={"long": "x" * 70_000}),
                create(name="f"),
            ],
        },
    )
    assert answer.status == 200
    assert (answer.body["succeeded"], answer.body["failed"]) == (2, 7)
    results = answer.body["results"]
    assert [one["status"] for one in results] == [201, 409, 400, 400, 400, 400, 422, 400, 201]
    pointers = [[error["pointer"] for error in one["problem"]["errors"]] for one in results[1:8]]
    assert pointers == [
        ["/operations/1/item/sku"],
        ["/operations/2/op"],
        ["/operations/3"],
        ["/operations/4/id"],
        ["/operations/5/item/minQuantity"],
        ["/operations/6/item/serial_number"],
        ["/operations/7"],
    ]
    assert await _items(connection) == [("a", 0), ("f", 0)]
    assert [type for type, _ in await take_events(connection)] == ["item-created", "low-stock-alert"] * 2


async def test_a_later_operation_sees_what_an_earlier_did(admin: Caller, connection: Connection) -> None:
    item = await admin.make("/items", name="a", sku="A")
    answer = await admin.post(
        "/items/bulk",
        {"operations": [{"op": "update", "id": item["id"], "item": {"sku": "B"}}, create(name="b", sku="A")]},
    )
    assert answer.status == 200, answer.body


async def test_a_key_makes_a_bulk_once(admin: Caller, connection: Connection) -> None:
    keyed = admin.sending(Idempotency_Key="once")
    body = {"mode": "each", "operations": [create(name="a", sku="A"), create(name="b", sku="A")]}
    first, again = await keyed.post("/items/bulk", body), await keyed.post("/items/bulk", body)
    assert first.body == again.body
    assert again.headers["Idempotency-Replayed"] == "true"
    assert await _items(connection) == [("a", 0)]


async def test_what_is_too_much_is_refused(admin: Caller, connection: Connection) -> None:
    for operations in ([], [create(name="x")] * (MAX_OPERATIONS + 1), "none"):
        answer = await admin.post("/items/bulk", {"operations": operations})
        assert (answer.status, answer.pointers) == (400, ["/operations"])
    large = [create(name="x", description="y" * 8000)] * 250
    assert (await admin.post("/items/bulk", {"operations": large})).status == 200
    await connection.execute("delete from items")
    answer = await admin.post("/items/bulk", {"operations": [], "x": "y" * MAX_BYTES})
    assert answer.status == 413
    assert str(MAX_BYTES) in answer.body["detail"]
    assert await _items(connection) == []


async def test_two_with_the_same_items_in_opposite_orders_do_not_wait_for_each_other(
    admin: Caller, connection: Connection
) -> None:
    ids = [(await admin.make("/items", name=f"{number}"))["id"] for number in range(20)]

    async def count(order: list[str], quantity: int) -> int:
        operations = [{"op": "count", "id": id, "quantity": quantity} for id in order]
        return (await admin.post("/items/bulk", {"operations": operations})).status

    for number in range(5):
        statuses = await asyncio.gather(count(ids, 10 + number), count(ids[::-1], 20 + number))
        assert set(statuses) == {200}
    quantities = {quantity for _, quantity in await _items(connection)}
    assert quantities in ({14}, {24})
