"""Requests about items that the API refuses, which leave no trace."""

from typing import Any
from uuid import uuid4

import pytest

from tests.support.api.caller import Caller
from tests.support.api.outbox import take_events
from tests.support.database import Connection


@pytest.mark.parametrize(
    ("change", "pointer"),
    [({"quantity": 3}, "/quantity"), ({"serial_number": "S-1"}, "/serial_number")],
)
async def test_what_a_rule_forbids_changes_nothing(
    admin: Caller, connection: Connection, change: dict[str, Any], pointer: str
) -> None:
    item = await admin.make("/items", name="Pump", quantity=10)
    await connection.execute("update items set reserved_quantity = 4")
    await take_events(connection)

    answer = await admin.put(f"/items/{item['id']}", change)

    assert (answer.status, answer.pointers) == (422, [pointer])
    assert (await admin.get(f"/items/{item['id']}")).body == {**item, "reserved_quantity": 4}
    assert await take_events(connection) == []
    assert (await admin.put(f"/items/{item['id']}", {"quantity": 4})).status == 200


async def test_a_serial_number_names_one_unit(admin: Caller) -> None:
    assert (await admin.post("/items", {"name": "x", "serial_number": "S", "quantity": 2})).status == 422
    item = await admin.make("/items", name="x", serial_number="S", quantity=1)
    assert (await admin.put(f"/items/{item['id']}", {"quantity": 2})).status == 422
    assert (await admin.put(f"/items/{item['id']}", {"quantity": 2, "serial_number": None})).status == 200


async def test_a_sku_is_unique_within_a_location_and_a_serial_number_everywhere(admin: Caller) -> None:
    depot, site = [(await admin.make("/locations", name=name))["id"] for name in ("Depot", "Site")]
    await admin.make("/items", name="x", sku="A", serial_number="S", location_id=depot)
    elsewhere = await admin.make("/items", name="x", sku="A", location_id=site)
    nowhere = await admin.make("/items", name="x", sku="A")

    for method, path, body, pointer in (
        ("POST", "/items", {"name": "y", "sku": "A", "location_id": depot}, "/sku"),
        ("POST", "/items", {"name": "y", "sku": "A"}, "/sku"),
        ("POST", "/items", {"name": "y", "serial_number": "S"}, "/serial_number"),
        ("PUT", f"/items/{elsewhere['id']}", {"serial_number": "S"}, "/serial_number"),
        ("PUT", f"/items/{elsewhere['id']}/location", {"location_id": depot}, "/sku"),
        ("PUT", f"/items/{nowhere['id']}", {"location_id": site}, "/sku"),
    ):
        answer = await admin.ask(method, path, body)
        assert (answer.status, answer.pointers) == (409, [pointer]), body


@pytest.mark.parametrize("field", ["category_id", "location_id"])
async def test_an_unknown_category_or_location_is_named(admin: Caller, connection: Connection, field: str) -> None:
    item = await admin.make("/items", name="x", quantity=9)
    await take_events(connection)

    for answer in (
        await admin.post("/items", {"name": "y", field: str(uuid4())}),
        await admin.put(f"/items/{item['id']}", {field: str(uuid4())}),
    ):
        assert (answer.status, answer.pointers) == (400, [f"/{field}"])
    assert await take_events(connection) == []


async def test_an_item_with_reserved_units_cannot_be_deleted(admin: Caller, connection: Connection) -> None:
    item = await admin.make("/items", name="x", quantity=9)
    await connection.execute("update items set reserved_quantity = 1")
    await take_events(connection)

    assert (await admin.delete(f"/items/{item['id']}")).status == 409
    assert await take_events(connection) == []


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        (b"{}", ["/name"]),
        (b'{"name": ""}', ["/name"]),
        (b'{"name": "  "}', ["/name"]),
        (b'{"name": "a\\u0000b"}', ["/name"]),
        (b'{"name": 1, "quantity": -1, "min_quantity": 1.5}', ["/name", "/quantity", "/min_quantity"]),
        (b'{"name": "x", "quantity": "1.0"}', ["/quantity"]),
        (b'{"name": "x", "quantity": true}', ["/quantity"]),
        (b'{"name": "x", "quantity": 2147483648}', ["/quantity"]),
        (b'{"name": "x", "condition": "broken", "status": "gone"}', ["/condition", "/status"]),
        (b'{"name": "x", "purchase_date": "yesterday"}', ["/purchase_date"]),
        (b'{"name": "x", "purchase_date": 1709164800}', ["/purchase_date"]),
        (b'{"name": "x", "location_id": "here"}', ["/location_id"]),
        (b'{"name": "x", "attributes": []}', ["/attributes"]),
        (b'{"name": "x", "attributes": {"a": ["\\u0000"]}}', ["/attributes"]),
        (b'{"name": "x", "attributes": {"\\u0000": 1}}', ["/attributes"]),
        (b'{"name": "x", "attributes": ' + b'{"a":' * 40 + b"1" + b"}" * 41, ["/attributes"]),
    ],
)
async def test_bad_fields_are_all_named(admin: Caller, body: bytes, pointers: list[str]) -> None:
    answer = await admin.ask("POST", "/items", body)

    assert (answer.status, answer.pointers) == (400, pointers)
    assert answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("body", [b'{"name": "\\ud800"}', b'{"name": "x", "attributes": {"\\udfff": 1}}', b"[]", b"{"])
async def test_what_is_not_json_text_is_refused(admin: Caller, body: bytes) -> None:
    assert (await admin.ask("POST", "/items", body)).status == 400


@pytest.mark.parametrize("item_id", ["nothing", "0", pytest.param(str(uuid4()), id="unknown")])
async def test_an_unknown_id_names_nothing(admin: Caller, item_id: str) -> None:
    assert (await admin.get(f"/items/{item_id}")).status == 404
    assert (await admin.put(f"/items/{item_id}", {})).status == 404
    assert (await admin.put(f"/items/{item_id}/location", {"location_id": None})).status == 404
    assert (await admin.delete(f"/items/{item_id}")).status == 404


async def test_a_change_too_large_for_one_event_is_refused_whole(admin: Caller, connection: Connection) -> None:
    item = await admin.make("/items", name="x", description="\x01" * 8000)
    await take_events(connection)

    answer = await admin.put(f"/items/{item['id']}", {"description": "\x02" * 8000})

    assert answer.status == 422
    assert (await admin.get(f"/items/{item['id']}")).body == item
    assert await take_events(connection) == []


@pytest.mark.parametrize(
    ("name", "detail"),
    [
        ("", "must have at least 1 character"),
        ("x" * 256, "must have at most 255 characters"),
        (" ", "must not be blank"),
        (None, "must be a text"),
    ],
)
async def test_a_bad_text_is_told_in_a_persons_words(admin: Caller, name: str | None, detail: str) -> None:
    answer = await admin.post("/items", {"name": name})
    assert (answer.status, answer.body["errors"]) == (400, [{"pointer": "/name", "detail": detail}])
    assert answer.body["detail"] == answer.body["error"] == f"/name: {detail}"


@pytest.mark.parametrize(
    ("fields", "pointer", "detail"),
    [
        ({"attributes": 5}, "/attributes", "must be an object"),
        ({"quantity": "many"}, "/quantity", "must be an integer"),
    ],
)
async def test_a_bad_type_is_told_in_a_persons_words(
    admin: Caller, fields: dict[str, object], pointer: str, detail: str
) -> None:
    answer = await admin.post("/items", {"name": "Pump", **fields})
    assert (answer.status, answer.body["errors"]) == (400, [{"pointer": pointer, "detail": detail}])


async def test_a_query_that_cannot_be_stored_names_its_parameter(admin: Caller) -> None:
    answer = await admin.get("/items", search="a\0b")
    assert (answer.status, answer.body["detail"]) == (400, "?search holds U+0000")
    assert answer.body["errors"] == [{"pointer": "?search", "detail": "holds U+0000"}]


@pytest.mark.parametrize(
    ("fields", "pointer", "detail"),
    [
        ({"events": []}, "/events", "must have at least 1 entry"),
        ({"events": "item-created"}, "/events", "must be a list"),
        ({"events": ["item-created"], "retryPolicy": 5}, "/retryPolicy", "must be an object"),
        (
            {"events": ["item-created"], "retryPolicy": {"schedule": [1000] * 21}},
            "/retryPolicy/schedule",
            "must have at most 20 entries",
        ),
    ],
)
async def test_a_bad_list_or_object_is_told_in_a_persons_words(
    admin: Caller, fields: dict[str, object], pointer: str, detail: str
) -> None:
    answer = await admin.post("/webhooks", {"url": "https://example.org/", **fields})
    assert (answer.status, answer.body["errors"]) == (400, [{"pointer": pointer, "detail": detail}])
