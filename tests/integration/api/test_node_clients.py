"""Behaviour that clients of the Node system rely on, with JOSSIEDB_NODE_CLIENTS and without."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from service.api import admission, node_clients, slices
from service.api.node_clients import MAX_ROWS
from service.inventory import reads
from service.platform.queries import Statement
from service.platform.settings import Settings
from service.server.app import make_app
from tests.support.api.caller import Api, Caller, SignUp
from tests.support.api.outbox import Outbox
from tests.support.database import Connection


@pytest.fixture
async def node(settings: Settings, database_url: str) -> AsyncIterator[Api]:
    """The API with the setting on."""
    app = make_app(settings.model_copy(update={"jossiedb_node_clients": True}), database_url)
    async with TestClient(TestServer(app)) as client:
        yield client


@pytest.fixture
async def admin(sign_up: SignUp) -> dict[str, str]:
    return (await sign_up("admin")).headers


async def answer(api: Api, method: str, path: str, headers: dict[str, str], **body: Any) -> Any:
    async with api.request(method, f"/api/v1{path}", headers=headers, json=body or None) as response:
        assert response.ok, await response.text()
        return await response.json()


async def add_items(connection: Connection, count: int) -> None:
    await connection.execute(
        "insert into items (name) select 'Item ' || n from generate_series(1, $1::int) as n", count
    )


async def test_objects_have_their_id_twice_and_items_their_places_by_name(node: Api, admin: dict[str, str]) -> None:
    hall = await answer(node, "POST", "/locations", admin, name="Hall 2")
    tools = await answer(node, "POST", "/categories", admin, name="Tools")
    assert hall["_id"] == hall["id"]
    item = await answer(node, "POST", "/items", admin, name="Drill", location_id=hall["id"], category_id=tools["id"])
    expected = {
        "_id": item["id"],
        "location_id": hall["id"],
        "location": {"_id": hall["id"], "id": hall["id"], "name": "Hall 2"},
        "category_id": tools["id"],
        "category": {"_id": tools["id"], "id": tools["id"], "name": "Tools"},
    }
    assert {name: item[name] for name in expected} == expected
    assert await answer(node, "GET", f"/items/{item['id']}", admin) == item
    assert await answer(node, "GET", "/items", admin) == [item]
    without = await answer(node, "POST", "/items", admin, name="Loose")
    assert (without["location"], without["category"]) == (None, None)
    assert (await answer(node, "GET", "/auth/profile", admin))["_id"]


async def test_an_item_is_shown_again_when_its_place_has_been_renamed(node: Api, api: Api, sign_up: SignUp) -> None:
    admin = Caller(node, await sign_up("admin"))
    item = await admin.make("/items", name="Drill", location_name="Hall 2")
    path = f"/items/{item['id']}"
    tag = (await admin.get(path)).headers["ETag"]
    assert (await admin.put(f"/locations/{item['location_id']}", {"name": "Hall 9"})).status == 200
    shown = await admin.sending(If_None_Match=tag).get(path)
    assert (shown.status, shown.body["location"]["name"]) == (200, "Hall 9")
    # The item's own row has not changed.
    assert shown.headers["ETag"] == tag
    assert (await admin.sending(If_Match=tag).put(path, {"quantity": 3})).status == 200
    assert (await admin.sending(If_Match=tag).put(path, {"quantity": 4})).status == 412
    # A resource to which nothing is added keeps its own ETag. So does an item without the setting.
    place = f"/locations/{item['location_id']}"
    assert (await admin.sending(If_None_Match=(await admin.get(place)).headers["ETag"]).get(place)).status == 304
    plain = Caller(api, admin.token)
    assert (await plain.sending(If_None_Match=(await plain.get(path)).headers["ETag"]).get(path)).status == 304


async def test_what_a_client_was_given_it_can_send_back(node: Api, admin: dict[str, str], outbox: Outbox) -> None:
    item = await answer(node, "POST", "/items", admin, name="Drill", location_name="Hall 2")
    before = await outbox()
    assert await answer(node, "PUT", f"/items/{item['id']}", admin, **item) == item
    assert await outbox() == before


async def test_a_list_without_a_page_is_whole(
    node: Api, api: Api, admin: dict[str, str], connection: Connection
) -> None:
    await add_items(connection, 450)
    async with node.get("/api/v1/items", headers=admin) as response:
        found = await response.json()
        assert response.headers["X-Total-Count"] == "450"
        assert "Link" not in response.headers
    assert len({item["_id"] for item in found}) == 450
    assert len(await answer(node, "GET", "/items?limit=20&skip=440", admin)) == 10
    assert len(await answer(api, "GET", "/items", admin)) == 50


async def test_a_whole_list_has_an_end(
    node: Api, admin: dict[str, str], connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert MAX_ROWS == 10_000
    monkeypatch.setattr("service.api.node_clients.MAX_ROWS", 400)
    await add_items(connection, 450)
    async with node.get("/api/v1/items", headers=admin) as response:
        assert len(await response.json()) == 400
        assert response.headers["X-Total-Count"] == "450"


async def test_others_have_their_turn_between_the_rows_of_a_whole_list(
    node: Api, admin: dict[str, str], connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add_items(connection, 30)
    monkeypatch.setattr(slices, "SLICE_SECONDS", 0.0)
    turns, seen = 0, []

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    write = node_clients._with_underscored_ids

    def written(value: Any) -> Any:
        if isinstance(value, dict) and "sku" in value:
            seen.append(turns)
        return write(value)

    monkeypatch.setattr(node_clients, "_with_underscored_ids", written)
    task = asyncio.create_task(other())
    found = await answer(node, "GET", "/items", admin)
    task.cancel()
    assert len({item["_id"] for item in found}) == 30
    assert len(set(seen)) == len(seen) == 30


async def test_a_whole_list_goes_on_after_a_count_that_took_too_long(
    node: Api, sign_up: SignUp, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreman = await sign_up("foreman")
    await connection.execute(
        """with made as (insert into locations (name) select n::text from generate_series(1, 5) as n returning id)
           insert into location_foremen (location_id, user_id) select id, $1 from made""",
        foreman.user_id,
    )
    slow = reads._LOCATIONS.count_visible
    monkeypatch.setattr(
        slow, "sql", slow.sql.replace("select count(*)", "select count(*) + length(pg_sleep(60)::text)")
    )
    monkeypatch.setattr(admission, "STATEMENT_MS", 300)
    monkeypatch.setattr("service.api.node_clients.MAX_LIMIT", 2)
    counted = 0
    fetchval = Statement.fetchval

    async def counting(statement: Statement, executor: Any, **values: Any) -> Any:
        nonlocal counted
        counted += statement is slow
        return await fetchval(statement, executor, **values)

    monkeypatch.setattr(Statement, "fetchval", counting)
    async with node.get("/api/v1/locations", headers=foreman.headers) as response:
        found = await response.json()
        assert response.status == 200, found
        assert response.headers["X-Total-Count-Is-Minimum"] == "true"
    assert {location["name"] for location in found} == {"1", "2", "3", "4", "5"}
    # A count that took too long is not tried again for each page.
    assert counted == 1


async def test_filters_hold_in_a_whole_list(node: Api, admin: dict[str, str], connection: Connection) -> None:
    await add_items(connection, 3)
    assert [item["name"] for item in await answer(node, "GET", "/items?search=Item+2", admin)] == ["Item 2"]


async def test_an_unknown_parameter_is_named_and_not_refused(node: Api, api: Api, admin: dict[str, str]) -> None:
    async with node.get("/api/v1/items?colour=red&_=1", headers=admin) as response:
        assert response.status == 200
        assert response.headers["X-Ignored-Fields"] == "?colour"
    async with api.get("/api/v1/items?colour=red", headers=admin) as response:
        assert response.status == 400
    async with node.get("/api/v1/items/export?low_stok=true", headers=admin) as response:
        assert response.status == 200
        assert response.headers["X-Ignored-Fields"] == "?low_stok"
        assert response.headers["Content-Disposition"] == 'attachment; filename="items.csv"'
    async with node.get("/api/v1/items/export?low_stock=true", headers=admin) as response:
        assert "X-Ignored-Fields" not in response.headers


async def test_routes_of_webhooks_are_as_they_are(node: Api, admin: dict[str, str]) -> None:
    made = await answer(node, "POST", "/webhooks", admin, url="http://127.0.0.1:9/", events=["item-created"])
    assert "_id" not in made["webhook"]
    async with node.get(f"/api/v1/webhooks/{made['webhook']['id']}/events?colour=red", headers=admin) as response:
        assert response.status == 400


async def test_empty_texts_are_nulls_with_and_without_the_setting(api: Api, node: Api, admin: dict[str, str]) -> None:
    for client in (api, node):
        item = await answer(
            client, "POST", "/items", admin, name="Drill", sku="", serial_number="", location_id="", category_id=""
        )
        assert [item[name] for name in ("sku", "serial_number", "location_id", "category_id")] == [None] * 4
        item = await answer(client, "PUT", f"/items/{item['id']}", admin, sku="A-1")
        assert (await answer(client, "PUT", f"/items/{item['id']}", admin, sku=""))["sku"] is None


async def test_a_location_is_found_by_its_name_or_made(api: Api, admin: dict[str, str], outbox: Outbox) -> None:
    first = await answer(api, "POST", "/items", admin, name="Drill", quantity=9, location_name="Hall 2")
    assert [type for type, _ in await outbox()] == ["location-created", "item-created"]
    second = await answer(api, "POST", "/items", admin, name="Saw", location_name="HALL 2")
    assert second["location_id"] == first["location_id"]
    moved = await answer(api, "PUT", f"/items/{second['id']}", admin, location_name="Yard")
    assert moved["location_id"] not in {None, first["location_id"]}
    assert sorted(each["name"] for each in await answer(api, "GET", "/locations", admin)) == ["Hall 2", "Yard"]


async def test_a_name_and_an_id_of_two_locations_are_refused_and_nothing_is_made(
    api: Api, admin: dict[str, str]
) -> None:
    hall = await answer(api, "POST", "/locations", admin, name="Hall 2")
    body = {"name": "Drill", "location_id": hall["id"], "location_name": "Yard"}
    async with api.post("/api/v1/items", headers=admin, json=body) as response:
        assert response.status == 422
        assert (await response.json())["errors"][0]["pointer"] == "/location_name"
    assert len(await answer(api, "GET", "/locations", admin)) == 1
    body["location_name"] = "hall 2"
    async with api.post("/api/v1/items", headers=admin, json=body) as response:
        assert response.status == 201
