"""Categories over HTTP: a tree."""

import asyncio
from uuid import UUID, uuid4

import orjson
import pytest
from aiohttp.test_utils import TestClient, TestServer

from service.inventory.rules import MAX_DEPTH
from service.platform.settings import Settings
from service.server.app import make_app
from tests.support.api.caller import Caller
from tests.support.api.outbox import stored, take_events
from tests.support.database import Connection


async def test_a_category_is_created_changed_and_deleted_each_with_its_event(
    admin: Caller, connection: Connection
) -> None:
    root = await admin.make("/categories", name="Machines")
    await take_events(connection)

    created = await admin.make("/categories", name="Pumps", description="wet", parent_id=root["id"])
    path = f"/categories/{created['id']}"
    assert list(created) == ["id", "name", "description", "parent_id", "created_at", "updated_at"]
    assert (await admin.get(path)).body == created
    changed = await admin.put(path, {"name": "Big pumps", "parent_id": None})
    assert changed.body == {
        **created,
        "name": "Big pumps",
        "parent_id": None,
        "updated_at": changed.body["updated_at"],
    }
    assert (await admin.put(path, changed.body)).body == changed.body
    assert (await admin.delete(path)).status == 204
    assert (await admin.get(path)).status == 404

    assert await take_events(connection) == [
        stored("category-created", categoryId=created["id"], name="Pumps", parent_id=root["id"]),
        stored(
            "category-updated",
            categoryId=created["id"],
            name="Big pumps",
            parent_id=None,
            changes={"name": {"from": "Pumps", "to": "Big pumps"}, "parent_id": {"from": root["id"], "to": None}},
        ),
        stored("category-deleted", categoryId=created["id"], name="Big pumps", parent_id=None),
    ]
    records = await connection.fetch("select * from audit order by at offset 1")
    assert [(row["entity"], row["action"], len(row["event_ids"])) for row in records] == [
        ("category", "create", 1),
        ("category", "update", 1),
        ("category", "delete", 1),
    ]
    assert orjson.loads(records[2]["before"]) == changed.body


async def test_a_category_cannot_come_below_itself(admin: Caller, connection: Connection) -> None:
    top = await admin.make("/categories", name="a")
    middle = await admin.make("/categories", name="b", parent_id=top["id"])
    low = await admin.make("/categories", name="c", parent_id=middle["id"])
    await take_events(connection)

    for parent in (top, middle, low):
        answer = await admin.put(f"/categories/{top['id']}", {"parent_id": parent["id"]})
        assert (answer.status, answer.pointers) == (422, ["/parent_id"])

    assert await take_events(connection) == []
    assert (await admin.put(f"/categories/{low['id']}", {"parent_id": top["id"]})).status == 200


async def test_two_changes_at_once_cannot_close_a_circle(admin: Caller, connection: Connection) -> None:
    for number in range(5):
        one = await admin.make("/categories", name=f"one {number}")
        two = await admin.make("/categories", name=f"two {number}")
        answers = await asyncio.gather(
            admin.put(f"/categories/{one['id']}", {"parent_id": two["id"]}),
            admin.put(f"/categories/{two['id']}", {"parent_id": one["id"]}),
        )
        assert sorted(answer.status for answer in answers) == [200, 422]


async def test_siblings_have_different_names(admin: Caller) -> None:
    top = await admin.make("/categories", name="Machines")
    await admin.make("/categories", name="Pumps", parent_id=top["id"])
    elsewhere = await admin.make("/categories", name="pumps")

    for answer in (
        await admin.post("/categories", {"name": "MACHINES"}),
        await admin.post("/categories", {"name": "PUMPS", "parent_id": top["id"]}),
        await admin.put(f"/categories/{elsewhere['id']}", {"parent_id": top["id"]}),
    ):
        assert (answer.status, answer.pointers) == (409, ["/name"])


async def test_an_unknown_parent_is_named(admin: Caller) -> None:
    category = await admin.make("/categories", name="Pumps")

    for answer in (
        await admin.post("/categories", {"name": "x", "parent_id": str(uuid4())}),
        await admin.put(f"/categories/{category['id']}", {"parent_id": str(uuid4())}),
    ):
        assert (answer.status, answer.pointers) == (400, ["/parent_id"])


async def _line(connection: Connection, count: int) -> list[UUID]:
    """A chain of categories, each below the one before it."""
    ids = [uuid4() for _ in range(count)]
    await connection.executemany(
        "insert into categories (id, name, parent_id) values ($1, $2, $3)",
        [(id, f"c{number}", parent) for number, (id, parent) in enumerate(zip(ids, [None, *ids[:-1]], strict=True))],
    )
    return ids


async def test_categories_nest_at_most_64_deep(admin: Caller, connection: Connection) -> None:
    ids = await _line(connection, MAX_DEPTH - 1)
    pair = await admin.make("/categories", name="Upper")
    await admin.make("/categories", name="Lower", parent_id=pair["id"])
    lowest = await admin.make("/categories", name="Lowest", parent_id=str(ids[-1]))
    await take_events(connection)
    for answer in (
        await admin.post("/categories", {"name": "Too low", "parent_id": lowest["id"]}),
        # This category itself would fit there, but not its descendants.
        await admin.put(f"/categories/{pair['id']}", {"parent_id": str(ids[-1])}),
    ):
        assert (answer.status, answer.pointers) == (422, ["/parent_id"])
        assert "64 deep" in answer.body["detail"]
    assert await take_events(connection) == []
    assert await connection.fetchval("select count(*) from categories") == MAX_DEPTH + 2
    assert (await admin.put(f"/categories/{pair['id']}", {"parent_id": str(ids[-2])})).status == 200
    assert (await admin.put(f"/categories/{lowest['id']}", {"description": "as deep as before"})).status == 200


async def test_a_tree_from_before_that_is_deeper_is_answered_flat_below(
    admin: Caller, connection: Connection, settings: Settings, database_url: str
) -> None:
    ids = await _line(connection, 300)
    await connection.execute("insert into categories (name, parent_id) values ('beside', $1)", ids[-2])
    node = make_app(settings.model_copy(update={"jossiedb_node_clients": True}), database_url)
    async with TestClient(TestServer(node)) as client:
        for who in (admin, Caller(client, admin.token)):
            answer = await who.get("/categories/tree")
            assert answer.status == 200
            level, names = answer.body, []
            while len(level) == 1:
                names.append(level[0]["name"])
                level = level[0]["children"]
            assert names == [f"c{number}" for number in range(MAX_DEPTH)]
            assert [node["name"] for node in level] == ["beside" if n == 299 else f"c{n}" for n in range(64, 300)] + [
                "c299"
            ]
            assert all(node["children"] == [] for node in level)
    # The tree can be repaired from below.
    assert (await admin.put(f"/categories/{ids[-3]}", {"parent_id": None})).status == 200


async def test_a_category_that_is_used_stays(admin: Caller, connection: Connection) -> None:
    top = await admin.make("/categories", name="Machines")
    low = await admin.make("/categories", name="Pumps", parent_id=top["id"])
    item = await admin.make("/items", name="Pump", category_id=low["id"])
    await take_events(connection)

    assert (await admin.delete(f"/categories/{top['id']}")).status == 409
    assert (await admin.delete(f"/categories/{low['id']}")).status == 409
    assert await take_events(connection) == []

    await admin.delete(f"/items/{item['id']}")
    assert (await admin.delete(f"/categories/{low['id']}")).status == 204
    assert (await admin.delete(f"/categories/{top['id']}")).status == 204


async def test_items_that_come_into_a_category_while_it_is_deleted_are_refused_or_keep_it(admin: Caller) -> None:
    for number in range(8):
        kind = await admin.make("/categories", name=f"Pumps {number}")
        created, deleted = await asyncio.gather(
            admin.post("/items", {"name": "New", "category_id": kind["id"]}), admin.delete(f"/categories/{kind['id']}")
        )
        assert (created.status, deleted.status) in {(400, 204), (201, 409)}


async def test_categories_are_listed_in_pages(admin: Caller) -> None:
    for number in range(3):
        await admin.make("/categories", name=f"Pumps {number}")

    page = await admin.get("/categories", skip="2", limit="1")

    assert [category["name"] for category in page.body] == ["Pumps 2"]
    assert page.headers["X-Total-Count"] == "3"


@pytest.mark.parametrize("category_id", ["nothing", pytest.param(str(uuid4()), id="unknown")])
async def test_an_unknown_category_is_not_found(admin: Caller, category_id: str) -> None:
    path = f"/categories/{category_id}"
    assert (await admin.get(path)).status == 404
    assert (await admin.put(path, {"name": "x"})).status == 404
    assert (await admin.delete(path)).status == 404
