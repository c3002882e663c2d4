"""Contract, section 4: items, locations, categories, lists and errors, sentence by sentence."""

import re
from typing import Any

import pytest

from tests.support.contract.client import UNKNOWN_ID, Client, unique
from tests.support.formats import TIME, UUID7


async def test_an_item_has_the_contracts_fields_and_defaults(admin: Client) -> None:
    """Fields: name, sku, serial_number, description, quantity, reserved_quantity, min_quantity (5),
    condition, status, …"""
    item = await admin.post("/items", {"name": "Pump"}, status=201)
    assert item == {
        "id": item["id"],
        "name": "Pump",
        "sku": None,
        "serial_number": None,
        "description": None,
        "quantity": 0,
        "reserved_quantity": 0,
        "min_quantity": 5,
        "condition": "good",
        "status": "available",
        "purchase_date": None,
        "category_id": None,
        "location_id": None,
        "attributes": {},
        "created_at": item["created_at"],
        "updated_at": item["updated_at"],
    }
    assert UUID7.fullmatch(item["id"])
    assert TIME.fullmatch(item["created_at"])
    assert await admin.get(f"/items/{item['id']}") == item


@pytest.mark.parametrize("condition", ["new", "excellent", "good", "fair", "poor", "damaged"])
async def test_the_conditions(admin: Client, condition: str) -> None:
    """condition (new, excellent, good, fair, poor, damaged)"""
    assert (await admin.item(condition=condition))["condition"] == condition


@pytest.mark.parametrize("status", ["available", "checked_out", "maintenance", "retired", "lost"])
async def test_the_statuses(admin: Client, status: str) -> None:
    """status (available, checked_out, maintenance, retired, lost)"""
    assert (await admin.item(status=status))["status"] == status


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", None),
        ("name", 7),
        ("quantity", -1),
        ("quantity", 1.5),
        ("quantity", "three"),
        ("min_quantity", -1),
        ("condition", "broken"),
        ("status", "stolen"),
        ("purchase_date", "yesterday"),
        ("category_id", UNKNOWN_ID),
        ("location_id", UNKNOWN_ID),
        ("location_id", "nonsense"),
        ("attributes", []),
    ],
)
async def test_a_bad_field_is_400_with_its_pointer(admin: Client, field: str, value: Any) -> None:
    """400 malformed or invalid … `errors` (one entry a bad field, JSON pointer)"""
    (await admin.ask("POST", "/items", {"name": "Pump", field: value})).problem(400, f"/{field}")
    item = await admin.item()
    (await admin.ask("PUT", f"/items/{item['id']}", {field: value})).problem(400, f"/{field}")


async def test_the_name_is_needed(admin: Client) -> None:
    """Fields: name"""
    (await admin.ask("POST", "/items", {"quantity": 1})).problem(400, "/name")


async def test_reserved_quantity_is_read_only(admin: Client) -> None:
    """reserved_quantity (read-only, ≤ quantity)"""
    item = await admin.item(reserved_quantity=3)
    assert item["reserved_quantity"] == 0
    assert (await admin.put(f"/items/{item['id']}", {"reserved_quantity": 3}))["reserved_quantity"] == 0


async def test_a_sku_is_unique_within_a_location(admin: Client) -> None:
    """sku (unique within a location)"""
    here, there, sku = await admin.location(), await admin.location(), unique("sku")
    await admin.item(sku=sku, location_id=here)
    (await admin.ask("POST", "/items", {"name": "Twin", "sku": sku, "location_id": here})).problem(409)
    elsewhere = await admin.item(sku=sku, location_id=there)
    (await admin.ask("PUT", f"/items/{elsewhere['id']}/location", {"location_id": here})).problem(409)


async def test_a_serial_number_is_unique_and_of_one_piece(admin: Client) -> None:
    """serial_number (unique, only on items of quantity ≤ 1)"""
    serial = unique("serial")
    first = await admin.item(serial_number=serial, quantity=1)
    (await admin.ask("POST", "/items", {"name": "Twin", "serial_number": serial, "quantity": 1})).problem(409)
    many = {"name": "Many", "serial_number": unique("serial"), "quantity": 2}
    assert (await admin.ask("POST", "/items", many)).status in {400, 422}
    (await admin.ask("PUT", f"/items/{first['id']}", {"quantity": 2})).problem(422)


async def test_put_takes_any_subset_of_the_fields(admin: Client) -> None:
    """PUT takes any subset of the fields"""
    item = await admin.item(sku=unique("sku"), description="Of bronze", attributes={"a": 1})
    changed = await admin.put(f"/items/{item['id']}", {"description": None})
    assert changed == item | {"description": None, "updated_at": changed["updated_at"]}
    assert (await admin.put(f"/items/{item['id']}", {})) == changed


async def test_a_moved_item_is_at_its_new_location(admin: Client) -> None:
    """`PUT :id/location`"""
    item, location = await admin.item(), await admin.location()
    moved = await admin.put(f"/items/{item['id']}/location", {"location_id": location})
    assert moved["location_id"] == location


async def test_a_deleted_item_is_gone(admin: Client) -> None:
    """`DELETE :id`"""
    item = await admin.item()
    await admin.delete(f"/items/{item['id']}")
    (await admin.ask("GET", f"/items/{item['id']}")).problem(404)
    (await admin.ask("DELETE", f"/items/{item['id']}")).problem(404)


async def test_the_list_filters_by_category_location_status_and_search(admin: Client) -> None:
    """`GET` (`category_id, location_id, status, search`)"""
    location, category, word = await admin.location(), await admin.category(), unique("word")
    one = await admin.item(name=f"A {word} B", location_id=location, category_id=category, status="maintenance")
    two = await admin.item(sku=f"{word}-2", location_id=location)

    async def found(query: str) -> set[str]:
        return {item["id"] for item in await admin.get(f"/items?{query}")}

    assert await found(f"location_id={location}") == {one["id"], two["id"]}
    assert await found(f"category_id={category}") == {one["id"]}
    assert await found(f"location_id={location}&status=maintenance") == {one["id"]}
    assert await found(f"search={word.upper()}") == {one["id"], two["id"]}
    assert await found(f"search={word}&status=available") == {two["id"]}
    assert await found(f"search=b {word} a") == {one["id"]}
    assert await found(f"search={word} {unique('other')}") == set()


async def test_lists_are_bare_arrays_with_total_and_links(admin: Client) -> None:
    """lists are bare arrays with `X-Total-Count` and RFC 8288 `Link`, `?skip&limit` (50, at most
    200)"""
    location = await admin.location()
    items = [(await admin.item(location_id=location))["id"] for _ in range(3)]
    answer = await admin.ask("GET", f"/items?location_id={location}&skip=1&limit=1")
    assert isinstance(answer.body, list)
    assert len(answer.body) == 1
    assert answer.headers["X-Total-Count"] == "3"
    assert set(re.findall(r'rel="(\w+)"', answer.headers["Link"])) == {"first", "prev", "next", "last"}
    seen, path = [], f"/items?location_id={location}&limit=2"
    while path:
        page = await admin.ask("GET", path)
        seen += [item["id"] for item in page.body]
        following = re.search(r'<([^>]+)>; rel="next"', page.headers["Link"])
        path = following[1].partition("/api/v1")[2] if following else ""
    assert sorted(seen) == sorted(items)


@pytest.mark.parametrize("path", ["/items", "/locations", "/categories"])
async def test_a_page_has_50_and_at_most_200(admin: Client, path: str) -> None:
    """`?skip&limit` (50, at most 200)"""
    assert len((await admin.ask("GET", path)).body) <= 50
    assert (await admin.ask("GET", f"{path}?limit=200")).status == 200
    (await admin.ask("GET", f"{path}?limit=201")).problem(400, "?limit")
    (await admin.ask("GET", f"{path}?limit=0")).problem(400, "?limit")
    (await admin.ask("GET", f"{path}?skip=-1")).problem(400, "?skip")


async def test_locations_are_made_read_changed_and_removed(admin: Client, foreman: Client) -> None:
    """`/locations`: CRUD; `POST /locations/:id/foremen`"""
    location = await admin.location()
    assert (await admin.put(f"/locations/{location}", {"address": "Harbour 1"}))["address"] == "Harbour 1"
    assigned = await admin.post(f"/locations/{location}/foremen", {"user_id": foreman.id})
    assert assigned["foremen"] == [foreman.id]
    assert await admin.get(f"/locations/{location}") == assigned
    assert location in {found["id"] for found in await foreman.get("/locations")}
    await admin.delete(f"/locations/{location}")
    (await admin.ask("GET", f"/locations/{location}")).problem(404)


async def test_only_foremen_can_be_assigned(admin: Client, worker: Client) -> None:
    """`POST /locations/:id/foremen`: 422 a rule of the domain forbids it"""
    location = await admin.location()
    (await admin.ask("POST", f"/locations/{location}/foremen", {"user_id": worker.id})).problem(422)


async def test_a_location_or_category_in_use_is_not_deleted(admin: Client) -> None:
    """409 conflict"""
    location, category = await admin.location(), await admin.category()
    await admin.item(location_id=location, category_id=category)
    (await admin.ask("DELETE", f"/locations/{location}")).problem(409)
    (await admin.ask("DELETE", f"/categories/{category}")).problem(409)


async def test_categories_are_made_read_changed_and_removed(admin: Client) -> None:
    """`/categories`: CRUD"""
    parent = await admin.category()
    category = await admin.category(parent_id=parent)
    assert (await admin.get(f"/categories/{category}"))["parent_id"] == parent
    (await admin.ask("DELETE", f"/categories/{parent}")).problem(409)
    (await admin.ask("PUT", f"/categories/{parent}", {"parent_id": category})).problem(422)
    assert (await admin.put(f"/categories/{category}", {"parent_id": None}))["parent_id"] is None
    await admin.delete(f"/categories/{category}")
    (await admin.ask("GET", f"/categories/{category}")).problem(404)


# Errors


async def test_malformed_json_and_what_is_no_object_are_400(admin: Client) -> None:
    """400 malformed or invalid"""
    (await admin.ask("POST", "/items", b'{"name": ')).problem(400)
    (await admin.ask("POST", "/items", b"[]")).problem(400)
    (await admin.ask("POST", "/items", b'{"name": "\xff"}')).problem(400)


async def test_without_or_with_a_bad_token_it_is_401(nobody: Client) -> None:
    """401"""
    (await nobody.ask("GET", "/items")).problem(401)
    for header in ("Bearer nonsense", "Basic YTpi", "Bearer"):
        (await nobody.ask("GET", "/items", Authorization=header)).problem(401)


async def test_what_does_not_exist_is_404(admin: Client) -> None:
    """404"""
    for path in (f"/items/{UNKNOWN_ID}", "/items/nonsense", f"/locations/{UNKNOWN_ID}", f"/categories/{UNKNOWN_ID}"):
        (await admin.ask("GET", path)).problem(404)
    (await admin.ask("GET", "/no/such/path")).problem(404)


async def test_a_body_too_large_is_413(admin: Client) -> None:
    """413"""
    (await admin.ask("POST", "/items", b'{"name": "' + b"x" * 300_000 + b'"}')).problem(413)


async def test_another_content_type_is_415(admin: Client) -> None:
    """415"""
    (await admin.ask("POST", "/items", b"name=Pump", Content_Type="application/x-www-form-urlencoded")).problem(415)
