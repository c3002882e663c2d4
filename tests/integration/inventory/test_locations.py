"""Locations and their foremen over HTTP."""

import asyncio
from uuid import uuid4

import orjson
import pytest

from tests.support.api.caller import Api, Caller, SignUp
from tests.support.api.outbox import stored, take_events
from tests.support.database import Connection


async def test_a_location_is_created_changed_and_deleted_each_with_its_event(
    admin: Caller, connection: Connection
) -> None:
    created = await admin.make("/locations", name="Depot ½", description="old", address="Weg 1")
    path = f"/locations/{created['id']}"
    assert list(created) == ["id", "name", "description", "address", "foremen", "created_at", "updated_at"]
    assert created["foremen"] == []
    assert (await admin.get(path)).body == created

    changed = await admin.put(path, {"name": "Site", "description": None, "foremen": [str(uuid4())]})
    assert changed.status == 200
    assert changed.body == {
        **created,
        "name": "Site",
        "description": None,
        "updated_at": changed.body["updated_at"],
    }
    assert (await admin.put(path, {"name": "Site"})).body == changed.body

    assert (await admin.delete(path)).status == 204
    assert (await admin.get(path)).status == 404
    assert await take_events(connection) == [
        stored("location-created", locationId=created["id"], name="Depot ½"),
        stored(
            "location-updated",
            locationId=created["id"],
            name="Site",
            changes={"name": {"from": "Depot ½", "to": "Site"}, "description": {"from": "old", "to": None}},
        ),
        stored("location-deleted", locationId=created["id"], name="Site"),
    ]
    records = await connection.fetch("select * from audit order by at")
    assert [(row["entity"], row["action"], len(row["event_ids"])) for row in records] == [
        ("location", "create", 1),
        ("location", "update", 1),
        ("location", "delete", 1),
    ]
    assert orjson.loads(records[1]["before"]) == created
    assert orjson.loads(records[1]["after"]) == changed.body


async def test_names_of_locations_differ_by_more_than_case(admin: Caller) -> None:
    await admin.make("/locations", name="Depot")
    site = await admin.make("/locations", name="Site")

    for answer in (
        await admin.post("/locations", {"name": "DEPOT"}),
        await admin.put(f"/locations/{site['id']}", {"name": "depot"}),
    ):
        assert (answer.status, answer.pointers) == (409, ["/name"])


async def test_a_location_with_items_stays(admin: Caller, connection: Connection) -> None:
    depot = await admin.make("/locations", name="Depot")
    item = await admin.make("/items", name="Pump", location_id=depot["id"])
    await take_events(connection)

    assert (await admin.delete(f"/locations/{depot['id']}")).status == 409
    assert await take_events(connection) == []

    await admin.delete(f"/items/{item['id']}")
    assert (await admin.delete(f"/locations/{depot['id']}")).status == 204


async def test_items_that_come_into_a_location_while_it_is_deleted_are_refused_or_keep_it(
    admin: Caller, connection: Connection
) -> None:
    item = await admin.make("/items", name="Mover")
    for number in range(8):
        place = await admin.make("/locations", name=f"Depot {number}")
        answers = await asyncio.gather(
            admin.post("/items", {"name": "New", "location_id": place["id"]}),
            admin.put(f"/items/{item['id']}/location", {"location_id": place["id"]}),
            admin.delete(f"/locations/{place['id']}"),
        )
        created, moved, deleted = (answer.status for answer in answers)
        assert (created, moved, deleted) in {
            (400, 400, 204),
            (201, 200, 409),
        }
    assert (
        await connection.fetchval(
            "select count(*) from items left join locations on locations.id = location_id "
            "where location_id is not null and locations.id is null"
        )
        == 0
    )


async def test_foremen_are_assigned_and_taken_off(admin: Caller, sign_up: SignUp, connection: Connection) -> None:
    # They are listed by id. Ids of the same millisecond have no order before PostgreSQL 18.
    foremen = sorted([str((await sign_up("foreman")).user_id) for _ in range(3)])
    depot = await admin.make("/locations", name="Depot")
    path = f"/locations/{depot['id']}/foremen"
    await take_events(connection)

    one = await admin.post(path, {"user_id": foremen[0]})
    assert (one.status, one.body["foremen"]) == (200, foremen[:1])
    all_three = await admin.post(path, {"user_ids": foremen})
    assert (all_three.status, all_three.body["foremen"]) == (200, foremen)
    again = await admin.post(path, {"user_ids": foremen[1:]})
    assert (again.status, again.body) == (200, all_three.body)
    assert (await admin.delete(f"{path}/{foremen[1]}")).status == 204
    assert (await admin.delete(f"{path}/{foremen[1]}")).status == 404
    assert (await admin.get(f"/locations/{depot['id']}")).body["foremen"] == [foremen[0], foremen[2]]

    def location_updated(before: list[str], after: list[str]) -> tuple[str, str]:
        changes = {"foremen": {"from": orjson.dumps(before).decode(), "to": orjson.dumps(after).decode()}}
        return stored("location-updated", locationId=depot["id"], name="Depot", changes=changes)

    assert await take_events(connection) == [
        location_updated([], foremen[:1]),
        location_updated(foremen[:1], foremen),
        location_updated(foremen, [foremen[0], foremen[2]]),
    ]
    actions = await connection.fetch("select action from audit order by at offset 1")
    assert [row["action"] for row in actions] == ["add-foremen", "add-foremen", "remove-foreman"]


async def test_only_users_who_are_foremen_are_assigned(admin: Caller, sign_up: SignUp, connection: Connection) -> None:
    foreman, worker = [str((await sign_up(role)).user_id) for role in ("foreman", "worker")]
    depot = await admin.make("/locations", name="Depot")
    path = f"/locations/{depot['id']}/foremen"
    await take_events(connection)

    for body, status in (
        ({"user_ids": [foreman, worker]}, 422),
        ({"user_id": worker}, 422),
        ({"user_ids": [foreman, str(uuid4())]}, 400),
        ({}, 400),
        ({"user_id": "me"}, 400),
    ):
        assert (await admin.post(path, body)).status == status, body

    assert (await admin.get(f"/locations/{depot['id']}")).body == depot
    assert await take_events(connection) == []


async def test_a_foreman_sees_assigned_locations_only(admin: Caller, api: Api, sign_up: SignUp) -> None:
    foreman = Caller(api, await sign_up("foreman"))
    mine, other = [await admin.make("/locations", name=name) for name in ("Mine", "Other")]
    mine = (await admin.post(f"/locations/{mine['id']}/foremen", {"user_id": str(foreman.token.user_id)})).body

    listed = await foreman.get("/locations")
    assert listed.body == [mine]
    assert listed.headers["X-Total-Count"] == "1"
    assert (await foreman.get(f"/locations/{mine['id']}")).body == mine
    assert (await foreman.get(f"/locations/{other['id']}")).status == 403
    assert (await foreman.get(f"/locations/{uuid4()}")).status == 404


async def test_locations_are_listed_in_pages(admin: Caller) -> None:
    for number in range(3):
        await admin.make("/locations", name=f"Depot {number}")

    page = await admin.get("/locations", skip="1", limit="1")

    assert [location["name"] for location in page.body] == ["Depot 1"]
    assert page.headers["X-Total-Count"] == "3"
    assert page.headers["Link"].count("rel=") == 4


@pytest.mark.parametrize("location_id", ["nothing", pytest.param(str(uuid4()), id="unknown")])
async def test_an_unknown_location_is_not_found(admin: Caller, location_id: str) -> None:
    path = f"/locations/{location_id}"
    assert (await admin.get(path)).status == 404
    assert (await admin.put(path, {"name": "x"})).status == 404
    assert (await admin.delete(path)).status == 404
    assert (await admin.post(f"{path}/foremen", {"user_id": str(uuid4())})).status == 404
    assert (await admin.delete(f"{path}/foremen/{uuid4()}")).status == 404
