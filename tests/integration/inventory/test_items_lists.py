"""Lists of items: filters, search, pages, and the items that each role sees."""

from typing import Any
from uuid import uuid4

import pytest

from tests.support.api.caller import ROLES, Api, Caller, SignUp
from tests.support.database import Connection


def names(items: Any) -> list[str]:
    return [item["name"] for item in items]


async def test_a_list_is_filtered_by_what_it_is_asked_for(admin: Caller) -> None:
    depot = await admin.make("/locations", name="Depot")
    pumps = await admin.make("/categories", name="Pumps")
    await admin.make("/items", name="one", location_id=depot["id"])
    await admin.make("/items", name="two", location_id=depot["id"], category_id=pumps["id"])
    await admin.make("/items", name="three", category_id=pumps["id"], status="lost")

    for query, expected in (
        ({}, ["one", "two", "three"]),
        ({"location_id": depot["id"]}, ["one", "two"]),
        ({"category_id": pumps["id"]}, ["two", "three"]),
        ({"category_id": pumps["id"], "location_id": depot["id"]}, ["two"]),
        ({"status": "lost"}, ["three"]),
        ({"status": "lost", "location_id": depot["id"]}, []),
        ({"location_id": str(uuid4())}, []),
        ({"location_id": "", "status": "", "search": ""}, ["one", "two", "three"]),
    ):
        answer = await admin.get("/items", **query)
        assert (answer.status, names(answer.body)) == (200, expected), query
        assert answer.headers["X-Total-Count"] == str(len(expected))


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ({"status": "gone"}, "?status"),
        ({"location_id": "here"}, "?location_id"),
        ({"category_id": "1"}, "?category_id"),
        ({"limit": "0"}, "?limit"),
        ({"limit": "201"}, "?limit"),
        ({"skip": "-1"}, "?skip"),
        ({"search": "x" * 256}, "?search"),
        ({"search": "%"}, "?search"),
        ({"search": "a b c d e f g h i j k"}, "?search"),
        ({"sort": "color"}, "?sort"),
        ({"sort": "name", "cursor": "x"}, "?cursor"),
        ({"condition": "old"}, "?condition"),
        ({"low_stock": "maybe"}, "?low_stock"),
        ({"updated_since": "2026-01-05"}, "?updated_since"),
        ({"purchased_since": "yesterday"}, "?purchased_since"),
    ],
)
async def test_a_bad_query_is_refused_by_name(admin: Caller, query: dict[str, str], pointer: str) -> None:
    answer = await admin.get("/items", **query)

    assert (answer.status, answer.pointers) == (400, [pointer])


async def test_pages_cover_the_list_and_link_to_each_other(admin: Caller) -> None:
    for number in range(5):
        await admin.make("/items", name=f"item {number}", status="lost")

    first = await admin.get("/items", limit="2", status="lost")
    assert names(first.body) == ["item 0", "item 1"]
    assert first.headers["X-Total-Count"] == "5"
    assert first.headers["Link"] == ", ".join(
        f'</api/v1/items?limit=2&status=lost&skip={skip}>; rel="{relation}"'
        for relation, skip in (("first", 0), ("last", 4), ("next", 2))
    )

    # An item that is created meanwhile comes last, so no page moves.
    await admin.make("/items", name="item 5", status="lost")
    rest = [await admin.get("/items", limit="2", skip=skip, status="lost") for skip in ("2", "4", "6")]
    assert [names(page.body) for page in rest] == [["item 2", "item 3"], ["item 4", "item 5"], []]
    assert 'rel="next"' not in rest[1].headers["Link"]
    assert 'skip=2&status=lost>; rel="prev"' in rest[1].headers["Link"]


async def test_without_a_limit_a_page_has_50(admin: Caller, connection: Connection) -> None:
    await connection.execute("insert into items (name) select 'item ' || n from generate_series(1, 120) as n")

    assert len((await admin.get("/items")).body) == 50
    assert len((await admin.get("/items", limit="200")).body) == 120


async def test_a_foreman_sees_items_of_assigned_locations_and_of_none(admin: Caller, api: Api, sign_up: SignUp) -> None:
    foreman = Caller(api, await sign_up("foreman"))
    mine, other = [await admin.make("/locations", name=name) for name in ("Mine", "Other")]
    await admin.post(f"/locations/{mine['id']}/foremen", {"user_id": str(foreman.token.user_id)})
    here = await admin.make("/items", name="here", location_id=mine["id"])
    there = await admin.make("/items", name="there", location_id=other["id"])
    nowhere = await admin.make("/items", name="nowhere")

    listed = await foreman.get("/items")
    assert listed.body == [here, nowhere]
    assert listed.headers["X-Total-Count"] == "2"
    assert (await foreman.get("/items", location_id=other["id"])).body == []
    assert (await foreman.get(f"/items/{here['id']}")).body == here
    assert (await foreman.get(f"/items/{nowhere['id']}")).body == nowhere
    assert (await foreman.get(f"/items/{there['id']}")).status == 403
    assert (await foreman.get(f"/items/{uuid4()}")).status == 404

    await admin.delete(f"/locations/{mine['id']}/foremen/{foreman.token.user_id}")
    assert (await foreman.get("/items")).body == [nowhere]
    assert (await foreman.get(f"/items/{here['id']}")).status == 403


@pytest.mark.parametrize("role", ROLES)
async def test_everybody_reads_and_only_an_admin_writes(
    admin: Caller, api: Api, sign_up: SignUp, connection: Connection, role: str
) -> None:
    who = Caller(api, await sign_up(role))
    foreman = await sign_up("foreman")
    place = await admin.make("/locations", name="Depot")
    await admin.post(
        f"/locations/{place['id']}/foremen",
        {"user_ids": [str(foreman.user_id)] + [str(who.token.user_id)] * (role == "foreman")},
    )
    empty = await admin.make("/locations", name="Empty")
    kind = await admin.make("/categories", name="Pumps")
    item = await admin.make("/items", name="Pump", location_id=place["id"])
    before = await connection.fetchval("select count(*) from outbox")

    for path in ("/items", "/locations", "/categories"):
        answer = await who.get(path)
        assert (answer.status, len(answer.body) > 0) == (200, True), path
    for path in (f"/items/{item['id']}", f"/locations/{place['id']}", f"/categories/{kind['id']}"):
        assert (await who.get(path)).status == 200, path

    for method, path, body, status in (
        ("POST", "/items", {"name": "x"}, 201),
        ("PUT", f"/items/{item['id']}", {"name": "x"}, 200),
        ("PUT", f"/items/{item['id']}/location", {"location_id": None}, 200),
        ("DELETE", f"/items/{item['id']}", None, 204),
        ("POST", "/locations", {"name": "x"}, 201),
        ("PUT", f"/locations/{place['id']}", {"name": "y"}, 200),
        ("POST", f"/locations/{empty['id']}/foremen", {"user_id": str(foreman.user_id)}, 200),
        ("DELETE", f"/locations/{empty['id']}/foremen/{foreman.user_id}", None, 204),
        ("DELETE", f"/locations/{empty['id']}", None, 204),
        ("POST", "/categories", {"name": "x"}, 201),
        ("PUT", f"/categories/{kind['id']}", {"name": "y"}, 200),
        ("DELETE", f"/categories/{kind['id']}", None, 204),
    ):
        answer = await who.ask(method, path, body)
        assert answer.status == (status if role == "admin" else 403), (method, path)
    if role != "admin":
        assert await connection.fetchval("select count(*) from outbox") == before


async def test_nobody_reads_or_writes_without_signing_in(api: Api) -> None:
    for path in ("/items", "/locations", "/categories"):
        assert (await api.get(f"/api/v1{path}")).status == 401
        assert (await api.post(f"/api/v1{path}", json={"name": "x"})).status == 401
