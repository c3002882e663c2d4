"""Users, administered by admins over HTTP."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest

from tests.support.api.caller import ROLES, Answer, Api, Caller, SignUp
from tests.support.api.outbox import Outbox, take_events
from tests.support.api.registration import ANNA, PASSWORD, login, profile_status, signed_in_anna
from tests.support.api.webhooks import make_webhook
from tests.support.database import Connection, SomebodyWaits


def kinds(events: list[tuple[str, Any]]) -> list[str]:
    return [kind for kind, _ in events]


async def test_only_admins_read_and_write_users_and_the_audit_trail(api: Api, sign_up: SignUp) -> None:
    somebody = await sign_up("worker")
    user = f"/users/{somebody.user_id}"
    # The order matters: each route leaves an object that the next one needs.
    routes: list[tuple[str, str, Any, int]] = [
        ("GET", "/users", None, 200),
        ("POST", "/users", ANNA, 201),
        ("GET", user, None, 200),
        ("PUT", user, {"full_name": "Else"}, 200),
        ("GET", f"{user}/sessions", None, 200),
        ("DELETE", f"{user}/sessions/{somebody.session_id}", None, 204),
        ("GET", "/audit", None, 200),
        ("DELETE", user, None, 204),
    ]
    for role in reversed(ROLES):
        caller = Caller(api, await sign_up(role))
        for method, path, body, status in routes:
            answer = await caller.ask(method, path, body)
            assert answer.status == (status if role == "admin" else 403), (role, method, path, answer.body)
    for method, path, _, _ in routes:
        assert (await api.request(method, f"/api/v1{path}")).status == 401


async def test_an_admin_creates_a_user_of_any_role_who_can_sign_in(
    api: Api, admin: Caller, connection: Connection
) -> None:
    created = await admin.make("/users", **ANNA, role="foreman")
    assert (created["role"], created["status"], created["full_name"]) == ("foreman", "active", "Anna Köhler")
    ((kind, data),) = await take_events(connection)
    assert kind == "user-registered"
    assert orjson.loads(data)["role"] == "foreman"
    assert (await login(api)).status == 200
    actor = await connection.fetchval("select actor_id from audit where action = 'register'")
    assert actor == admin.token.user_id
    again = await admin.post("/users", ANNA)
    assert (again.status, again.pointers) == (409, ["/username"])
    bad = await admin.post("/users", {"username": "a b", "email": "x", "password": "short", "role": "king"})
    assert (bad.status, sorted(bad.pointers)) == (400, ["/email", "/password", "/role", "/username"])


async def test_users_are_listed_by_role_status_and_search(
    admin: Caller, sign_up: SignUp, connection: Connection
) -> None:
    for role in ("worker", "worker", "foreman"):
        await sign_up(role)
    await connection.execute(
        "update users set status = 'suspended', full_name = '100% Bo_b' where username = 'worker2'"
    )
    # By id. Two ids of the same millisecond may come in any order before PostgreSQL 18.
    names = [row["username"] for row in await connection.fetch("select username from users order by id")]
    for query, expected in (
        ({}, names),
        ({"role": "worker"}, [name for name in names if name in {"worker1", "worker2"}]),
        ({"role": "worker", "status": "active"}, ["worker1"]),
        ({"search": "FOREMAN3@"}, ["foreman3"]),
        ({"search": "0% bo_"}, ["worker2"]),
        ({"search": "%"}, ["worker2"]),
        ({"skip": "1", "limit": "2"}, names[1:3]),
    ):
        answer = await admin.get("/users", **query)
        assert [user["username"] for user in answer.body] == expected, query
        if "skip" in query:
            assert answer.headers["X-Total-Count"] == "4"
            assert 'rel="next"' in answer.headers["Link"]
    assert (await admin.get("/users", role="king")).status == 400


async def test_a_change_of_a_user_says_what_changed(
    admin: Caller, sign_up: SignUp, outbox: Outbox, connection: Connection
) -> None:
    worker = await sign_up("worker")
    answer = await admin.put(
        f"/users/{worker.user_id}", {"full_name": "Wilma", "role": "supervisor", "username": worker.username}
    )
    assert (answer.status, answer.body["full_name"], answer.body["role"]) == (200, "Wilma", "supervisor")
    assert answer.body["username"] == worker.username
    ((kind, data),) = await outbox()
    assert kind == "user-updated"
    assert data["changes"] == {
        "full_name": {"from": "Worker1", "to": "Wilma"},
        "role": {"from": "worker", "to": "supervisor"},
    }
    audit = await connection.fetchrow("select * from audit where entity = 'user'")
    assert audit is not None
    assert (audit["action"], audit["actor_id"], len(audit["event_ids"])) == ("update", admin.token.user_id, 1)
    same = await admin.put(f"/users/{worker.user_id}", {"role": "supervisor"})
    assert (same.status, len(await outbox())) == (200, 1)
    taken = await admin.put(f"/users/{worker.user_id}", {"email": "ADMIN0@example.org"})
    assert (taken.status, taken.pointers) == (409, ["/email"])
    assert (await admin.put(f"/users/{uuid4()}", {"role": "worker"})).status == 404
    assert (await admin.put("/users/nobody", {"role": "worker"})).status == 404
    assert (await admin.put(f"/users/{worker.user_id}", {"status": "away"})).status == 400
    assert (await admin.put(f"/users/{worker.user_id}", {"role": None})).status == 400


async def test_a_suspended_user_is_out_at_once(api: Api, admin: Caller, connection: Connection) -> None:
    anna = await signed_in_anna(api)
    await login(api)
    await connection.execute("delete from outbox")
    await admin.put(f"/users/{anna['user']['id']}", {"status": "suspended"})
    assert await profile_status(api, anna["token"]) == 401
    assert (await login(api)).status == 403
    assert (await api.post("/api/v1/auth/refresh", json={"refreshToken": anna["refreshToken"]})).status == 401
    assert kinds(await take_events(connection)) == ["user-updated", "user-logout", "user-logout"]
    reasons = await connection.fetch("select end_reason from sessions where user_id = $1", UUID(anna["user"]["id"]))
    assert [row[0] for row in reasons] == ["suspended", "suspended"]
    await admin.put(f"/users/{anna['user']['id']}", {"status": "active"})
    assert await profile_status(api, anna["token"]) == 401
    assert (await login(api)).status == 200


async def test_a_password_reset_ends_the_users_sessions(api: Api, admin: Caller, connection: Connection) -> None:
    anna = await signed_in_anna(api)
    await connection.execute("delete from outbox")
    answer = await admin.put(f"/users/{anna['user']['id']}", {"password": "another good one"})
    assert answer.status == 200
    assert await profile_status(api, anna["token"]) == 401
    assert (await login(api)).status == 401
    assert (await login(api, password="another good one")).status == 200
    assert kinds(await take_events(connection)) == ["password-changed", "user-logout", "user-login"]
    entry = await connection.fetchrow("select after::text from audit where entity = 'user' order by at desc limit 1")
    assert entry is not None
    assert "another" not in entry["after"]
    assert "argon" not in entry["after"]
    # An admin who resets their own password keeps the session of this request.
    assert (await admin.put(f"/users/{admin.token.user_id}", {"password": PASSWORD})).status == 200
    assert (await admin.get("/users")).status == 200


async def test_an_admin_lists_and_ends_the_sessions_of_a_user(
    admin: Caller, sign_up: SignUp, outbox: Outbox, connection: Connection
) -> None:
    worker, other = await sign_up("worker"), await sign_up("worker")
    sessions = await admin.get(f"/users/{worker.user_id}/sessions")
    assert [(one["id"], one["current"], one["ended_at"]) for one in sessions.body] == [
        (str(worker.session_id), False, None)
    ]
    assert (await admin.delete(f"/users/{worker.user_id}/sessions/{other.session_id}")).status == 404
    assert (await admin.delete(f"/users/{worker.user_id}/sessions/{worker.session_id}")).status == 204
    assert (await admin.delete(f"/users/{worker.user_id}/sessions/{worker.session_id}")).status == 404
    assert (await admin.get(f"/users/{worker.user_id}/sessions")).body == []
    (ended,) = (await admin.get(f"/users/{worker.user_id}/sessions", status="ended")).body
    assert ended["end_reason"] == "revoked"
    ((kind, data),) = await outbox()
    assert (kind, data["userId"]) == ("user-logout", str(worker.user_id))
    assert await connection.fetchval("select count(*) from sessions where ended_at is null") == 2
    assert (await admin.get(f"/users/{uuid4()}/sessions")).status == 404
    assert (await admin.delete(f"/users/{uuid4()}/sessions/{other.session_id}")).status == 404


async def test_a_user_without_history_is_removed_with_their_sessions_and_assignments(
    admin: Caller, sign_up: SignUp, connection: Connection
) -> None:
    foreman = await sign_up("foreman")
    depot = await admin.make("/locations", name="Depot")
    await admin.post(f"/locations/{depot['id']}/foremen", {"user_id": str(foreman.user_id)})
    await connection.execute("delete from outbox")
    assert (await admin.delete(f"/users/{foreman.user_id}")).status == 204
    events = await take_events(connection)
    assert kinds(events) == ["user-updated", "user-logout", "location-updated"]
    assert orjson.loads(events[0][1])["changes"] == {"status": {"from": "active", "to": "deleted"}}
    assert (await admin.get(f"/users/{foreman.user_id}")).status == 404
    assert (await admin.get(f"/locations/{depot['id']}")).body["foremen"] == []
    assert (await admin.delete(f"/users/{foreman.user_id}")).status == 404


async def test_a_user_with_webhooks_is_suspended_and_not_removed(
    api: Api, admin: Caller, sign_up: SignUp, outbox: Outbox
) -> None:
    owner = Caller(api, await sign_up("worker"))
    webhook = await make_webhook(owner)
    for _ in range(2):
        refused = await admin.delete(f"/users/{owner.token.user_id}")
        assert refused.status == 409
        assert "suspend" in refused.body["detail"]
        # A deleted webhook may still have deliveries that must be ended.
        await owner.delete(f"/webhooks/{webhook['id']}")
    assert await outbox() == []
    assert (await owner.get("/auth/profile")).status == 200


async def test_the_last_active_admin_stays_one(admin: Caller, sign_up: SignUp, connection: Connection) -> None:
    me = f"/users/{admin.token.user_id}"
    away = await sign_up("admin")
    await connection.execute("update users set status = 'suspended' where id = $1", away.user_id)
    for answer in (
        await admin.put(me, {"role": "worker"}),
        await admin.put(me, {"status": "suspended"}),
        await admin.delete(me),
    ):
        assert answer.status == 422, answer.body
        assert "last active admin" in answer.body["detail"]
    assert (await admin.put(me, {"full_name": "Still Here"})).status == 200
    # A suspended admin is not the last active one.
    assert (await admin.put(f"/users/{away.user_id}", {"role": "worker"})).status == 200


Ask = Callable[[Caller, str], Coroutine[Any, Any, Answer]]
WAYS: dict[str, Ask] = {
    "demoted": lambda caller, path: caller.put(path, {"role": "worker"}),
    "suspended": lambda caller, path: caller.put(path, {"status": "suspended"}),
    "removed": lambda caller, path: caller.delete(path),
}


@pytest.mark.parametrize("way", WAYS)
async def test_of_two_admins_who_go_at_the_same_time_one_stays(
    way: str, api: Api, admin: Caller, sign_up: SignUp, connection: Connection, somebody_waits: SomebodyWaits
) -> None:
    other = Caller(api, await sign_up("admin"))
    async with connection.transaction():
        # Both requests are under way before either decides.
        await connection.execute("select from users for no key update")
        asked = [asyncio.create_task(WAYS[way](caller, f"/users/{caller.token.user_id}")) for caller in (admin, other)]
        await somebody_waits()
    statuses = sorted([(await answer).status for answer in asked])
    assert statuses in ([200, 422], [204, 422])
    assert await connection.fetchval("select count(*) from users where role = 'admin' and status = 'active'") == 1


async def test_who_stops_being_a_foreman_is_taken_off_their_locations(
    admin: Caller, sign_up: SignUp, connection: Connection
) -> None:
    foreman, stays = await sign_up("foreman"), await sign_up("foreman")
    places = [await admin.make("/locations", name=name) for name in ("Depot", "Yard")]
    for place in places:
        ids = [str(foreman.user_id), str(stays.user_id)]
        await admin.post(f"/locations/{place['id']}/foremen", {"user_ids": ids})
    await connection.execute("delete from outbox")
    await admin.put(f"/users/{foreman.user_id}", {"full_name": "Fred"})
    assert await connection.fetchval("select count(*) from location_foremen") == 4
    await admin.put(f"/users/{foreman.user_id}", {"role": "worker"})
    events = await take_events(connection)
    assert kinds(events) == ["user-updated", "user-updated", "location-updated", "location-updated"]
    change = orjson.loads(events[2][1])
    assert change["locationId"] == places[0]["id"]
    foremen = change["changes"]["foremen"]
    assert orjson.loads(foremen["from"]) == sorted([str(foreman.user_id), str(stays.user_id)])
    assert orjson.loads(foremen["to"]) == [str(stays.user_id)]
    assert (await admin.get(f"/locations/{places[1]['id']}")).body["foremen"] == [str(stays.user_id)]


async def test_an_assignment_that_comes_while_a_foreman_is_demoted_does_not_outlive_it(
    admin: Caller, sign_up: SignUp, connection: Connection, somebody_waits: SomebodyWaits
) -> None:
    foreman = await sign_up("foreman")
    depot = await admin.make("/locations", name="Depot")
    async with connection.transaction():
        await connection.execute("select from users where id = $1 for share", foreman.user_id)
        demotion = asyncio.create_task(admin.put(f"/users/{foreman.user_id}", {"role": "worker"}))
        await somebody_waits()
        await connection.execute("insert into location_foremen values ($1, $2)", UUID(depot["id"]), foreman.user_id)
    assert (await demotion).status == 200
    assert await connection.fetchval("select count(*) from location_foremen") == 0
