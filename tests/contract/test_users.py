"""Contract, sections 1 and 4: sessions, users, the audit trail, and the histories of items."""

from typing import Any

import pytest

from tests.support.contract.client import PASSWORD, UNKNOWN_ID, Client, Newcomer, unique
from tests.support.contract.ears import Listen
from tests.support.formats import TIME

NEW_PASSWORD = "another-password-for-tests"


async def added(admin: Client, role: str = "worker") -> dict[str, Any]:
    """A user whom the admin has created."""
    name = unique("added")
    body = {"username": name, "email": f"{name}@example.org", "password": PASSWORD, "full_name": "A B", "role": role}
    user: dict[str, Any] = await admin.post("/users", body, status=201)
    return user


# Sessions


async def test_sessions_are_listed_and_one_is_revoked(newcomer: Newcomer) -> None:
    """`GET sessions`, `DELETE sessions/:id`; a logged-out token stops working at once"""
    person = await newcomer()
    assert person.user is not None
    other = await person.sign_in(person.user.username)
    assert other.user is not None
    ids = {person.user.session_id, other.user.session_id}
    assert {session["id"] for session in await person.get("/auth/sessions")} == ids
    await person.delete(f"/auth/sessions/{other.user.session_id}")
    (await other.ask("GET", "/auth/profile")).problem(401)
    assert [session["id"] for session in await person.get("/auth/sessions")] == [person.user.session_id]
    (await person.ask("DELETE", f"/auth/sessions/{UNKNOWN_ID}")).problem(404)


async def test_session_stats_count_them(newcomer: Newcomer) -> None:
    """`GET session-stats`"""
    person = await newcomer()
    assert person.user is not None
    await (await person.sign_in(person.user.username)).post("/auth/logout")
    stats = await person.get("/auth/session-stats")
    assert (stats["total"], stats["active"]) == (2, 1)


async def test_user_logout_by_a_revoked_session(admin: Client, newcomer: Newcomer, listen: Listen) -> None:
    """`user-logout` | a session ends by its user or an admin: revoke | userId, username, email,
    role, timestamp"""
    ears = await listen(admin, ["user-logout"])
    person = await newcomer()
    assert person.user is not None
    mine, admins = await person.sign_in(person.user.username), await person.sign_in(person.user.username)
    assert mine.user is not None
    assert admins.user is not None
    await person.delete(f"/auth/sessions/{mine.user.session_id}")
    await admin.delete(f"/users/{person.id}/sessions/{admins.user.session_id}")
    assert len(await ears.events(userId=person.id)) == 2
    assert list(await ears.data("user-logout", userId=person.id)) == [
        "userId",
        "username",
        "email",
        "role",
        "timestamp",
    ]


async def test_a_changed_password_ends_the_other_sessions(admin: Client, newcomer: Newcomer, listen: Listen) -> None:
    """`POST password`; `password-changed`"""
    ears = await listen(admin, ["password-changed"])
    person = await newcomer()
    assert person.user is not None
    other = await person.sign_in(person.user.username)
    wrong = {"currentPassword": "not-the-password", "newPassword": NEW_PASSWORD}
    assert (await person.ask("POST", "/auth/password", wrong)).status in {400, 401, 403, 422}
    short = {"currentPassword": PASSWORD, "newPassword": "short"}
    (await person.ask("POST", "/auth/password", short)).problem(400, "/newPassword")
    await person.post("/auth/password", {"currentPassword": PASSWORD, "newPassword": NEW_PASSWORD}, status=200)
    (await other.ask("GET", "/auth/profile")).problem(401)
    assert (await person.ask("GET", "/auth/profile")).status == 200
    old = {"username": person.user.username, "password": PASSWORD}
    (await person.ask("POST", "/auth/login", old)).problem(401)
    await person.sign_in(person.user.username, NEW_PASSWORD)
    await ears.hear("password-changed", userId=person.id)


# Users


@pytest.mark.parametrize("role", ["admin", "supervisor", "foreman", "worker", "personnel"])
async def test_an_admin_gives_any_role(admin: Client, role: str, listen: Listen) -> None:
    """only an admin gives another role; `user-registered`"""
    ears = await listen(admin, ["user-registered"])
    user = await added(admin, role)
    assert (user["role"], user["status"]) == (role, "active")
    assert (await ears.data("user-registered", userId=user["id"]))["role"] == role
    assert (await admin.sign_in(user["username"])).id == user["id"]


async def test_a_changed_role_counts_at_once_and_is_told(admin: Client, listen: Listen) -> None:
    """`/users`: admin; `user-updated` with `changes`"""
    ears = await listen(admin, ["user-updated"])
    user = await added(admin)
    person = await admin.sign_in(user["username"])
    (await person.ask("POST", "/categories", {"name": unique("category")})).problem(403)
    changed = await admin.put(f"/users/{user['id']}", {"role": "admin"})
    assert changed["role"] == "admin"
    await person.post("/categories", {"name": unique("category")}, status=201)
    data = await ears.data("user-updated", userId=user["id"])
    assert data["changes"] == {"role": {"from": "worker", "to": "admin"}}


async def test_a_suspended_user_is_out_at_once(admin: Client, nobody: Client) -> None:
    """suspended users are out at once"""
    user = await added(admin)
    person = await admin.sign_in(user["username"])
    await admin.put(f"/users/{user['id']}", {"status": "suspended"})
    assert (await person.ask("GET", "/auth/profile")).status in {401, 403}
    login = {"username": user["username"], "password": PASSWORD}
    assert (await nobody.ask("POST", "/auth/login", login)).status in {401, 403}
    await admin.put(f"/users/{user['id']}", {"status": "active"})
    await admin.sign_in(user["username"])


async def test_users_are_listed_read_and_removed(admin: Client) -> None:
    """`/users`: admin; lists are bare arrays with `X-Total-Count`"""
    user = await added(admin)
    answer = await admin.ask("GET", f"/users?search={user['username']}")
    assert answer.headers["X-Total-Count"] == "1"
    assert answer.body == [user]
    assert await admin.get(f"/users/{user['id']}") == user
    await admin.delete(f"/users/{user['id']}")
    (await admin.ask("GET", f"/users/{user['id']}")).problem(404)


@pytest.mark.parametrize(
    ("field", "value"),
    [("role", "king"), ("email", "nonsense"), ("password", "short"), ("full_name", ""), ("status", "asleep")],
)
async def test_a_bad_field_is_400_with_its_pointer(admin: Client, field: str, value: str) -> None:
    """400 malformed or invalid"""
    user = await added(admin)
    (await admin.ask("PUT", f"/users/{user['id']}", {field: value})).problem(400, f"/{field}")


async def test_a_demoted_owners_webhook_narrows(admin: Client, listen: Listen) -> None:
    """Who gets what: kept true when roles change"""
    user = await added(admin, "admin")
    person = await admin.sign_in(user["username"])
    ears = await listen(person, ["user-registered", "item-created"])
    before = await added(admin)
    await ears.hear("user-registered", userId=before["id"])
    await admin.put(f"/users/{user['id']}", {"role": "worker"})
    after = await added(admin)
    item = await admin.item()
    await ears.hear("item-created", itemId=item["id"])
    page = await person.get(f"/webhooks/{ears.id}/events")
    seen = {event["eventType"]: event["data"] for event in page["events"]}
    assert seen["item-created"]["itemId"] == item["id"]
    # The event that was delivered before is still listed, without its data. The later event was
    # never meant for this webhook.
    assert seen["user-registered"] is None
    assert after["id"] not in str(page)
    assert page["total"] == 2


# Audit


async def test_the_audit_says_who_did_what_to_what_when_and_from_where(admin: Client) -> None:
    """`/audit`: admin, who did what to what, when, from where."""
    assert admin.user is not None
    item = await admin.item(quantity=5)
    request_id = unique("request")
    await admin.call("PUT", f"/items/{item['id']}", {"quantity": 4}, X_Request_ID=request_id)
    changed, created = await admin.get(f"/audit?entity_id={item['id']}")
    assert changed["actor"]["id"] == admin.id
    assert changed["actor"]["username"] == admin.user.username
    assert (changed["entity_id"], changed["ip_address"]) == (item["id"], "127.0.0.1")
    assert changed["request_id"] == request_id
    assert TIME.fullmatch(changed["at"])
    assert (changed["before"]["quantity"], changed["after"]["quantity"]) == (5, 4)
    assert created["before"] is None
    assert changed["event_ids"]


# Histories of items


async def test_location_summary_and_history_of_an_item(admin: Client) -> None:
    """`GET :id/location-summary`, `GET :id/location-history`"""
    here, there = await admin.location(), await admin.location()
    item = await admin.item(location_id=here)
    await admin.put(f"/items/{item['id']}/location", {"location_id": there})
    assert there in str(await admin.get(f"/items/{item['id']}/location-summary"))
    history = str(await admin.get(f"/items/{item['id']}/location-history"))
    assert here in history
    assert there in history
    for name in ("location-summary", "location-history"):
        (await admin.ask("GET", f"/items/{UNKNOWN_ID}/{name}")).problem(404)
