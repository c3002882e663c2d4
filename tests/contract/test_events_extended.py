"""Contract, section 1: the extended types of locations, categories, users and sessions, who gets
what, and what nobody gets."""

from typing import Any

import pytest

from tests.support.contract.client import PASSWORD, Client, Newcomer, unique
from tests.support.contract.ears import Listen


async def test_location_created_updated_deleted(admin: Client, listen: Listen) -> None:
    """`location-created|updated|deleted`"""
    ears = await listen(admin, ["location-created", "location-updated", "location-deleted"])
    location = await admin.location()
    await admin.put(f"/locations/{location}", {"address": "Harbour 1"})
    await admin.delete(f"/locations/{location}")
    created, updated, deleted = await ears.events(locationId=location)
    assert [event["eventType"] for event in (created, updated, deleted)] == [
        "location-created",
        "location-updated",
        "location-deleted",
    ]
    assert updated["data"]["changes"] == {"address": {"from": None, "to": "Harbour 1"}}


async def test_location_updated_by_its_foremen(admin: Client, foreman: Client, listen: Listen) -> None:
    """Every other inventory mutation writes an event of an extended type."""
    ears = await listen(admin, ["location-updated"])
    location = await admin.location()
    await admin.post(f"/locations/{location}/foremen", {"user_id": foreman.id})
    await admin.delete(f"/locations/{location}/foremen/{foreman.id}")
    added, removed = await ears.events(locationId=location)
    assert "foremen" in added["data"]["changes"]
    assert "foremen" in removed["data"]["changes"]


async def test_category_created_updated_deleted(admin: Client, listen: Listen) -> None:
    """`category-created|updated|deleted`"""
    ears = await listen(admin, ["category-created", "category-updated", "category-deleted"])
    parent = await admin.category()
    category = await admin.category(parent_id=parent)
    await admin.put(f"/categories/{category}", {"parent_id": None})
    await admin.delete(f"/categories/{category}")
    created = await ears.data("category-created", categoryId=category)
    updated = await ears.data("category-updated", categoryId=category)
    deleted = await ears.data("category-deleted", categoryId=category)
    assert (created["parent_id"], deleted["parent_id"]) == (parent, None)
    assert updated["changes"] == {"parent_id": {"from": parent, "to": None}}


async def test_user_login_when_a_login_succeeds(
    admin: Client, nobody: Client, newcomer: Newcomer, listen: Listen
) -> None:
    """`user-login` | a login succeeds | userId, username, email, role, userAgent, ipAddress,
    deviceInfo, timestamp"""
    ears = await listen(admin, ["user-login"])
    person = await newcomer()
    assert person.user is not None
    await ears.hear("user-login", userId=person.id)
    login = {"username": person.user.username, "password": PASSWORD, "deviceInfo": "Tablet 7"}
    (await nobody.ask("POST", "/auth/login", login | {"password": "wrong-password"})).problem(401)
    await nobody.call("POST", "/auth/login", login, User_Agent="Mozilla/5.0 (contract)")
    arrival = await ears.hear("user-login", 2, userId=person.id)
    data = arrival.envelope["data"]
    assert list(data) == [
        "userId",
        "username",
        "email",
        "role",
        "userAgent",
        "ipAddress",
        "deviceInfo",
        "timestamp",
    ]
    assert data == {
        "userId": person.id,
        "username": person.user.username,
        "email": f"{person.user.username}@example.org",
        "role": "worker",
        "userAgent": "Mozilla/5.0 (contract)",
        "ipAddress": "127.0.0.1",
        "deviceInfo": "Tablet 7",
        "timestamp": data["timestamp"],
    }
    assert len(await ears.events(userId=person.id)) == 2


async def test_user_logout_by_a_logout(admin: Client, newcomer: Newcomer, listen: Listen) -> None:
    """`user-logout` | a session ends by its user: logout | userId, username, email, role,
    timestamp"""
    ears = await listen(admin, ["user-logout"])
    person = await newcomer()
    await person.post("/auth/logout")
    data = await ears.data("user-logout", userId=person.id)
    assert list(data) == ["userId", "username", "email", "role", "timestamp"]
    assert data["role"] == "worker"


async def test_user_logout_by_logout_all_is_one_event_a_session(
    admin: Client, nobody: Client, newcomer: Newcomer, listen: Listen
) -> None:
    """`user-logout` | logout-all (one event a session)"""
    ears = await listen(admin, ["user-logout"])
    person = await newcomer()
    assert person.user is not None
    await nobody.sign_in(person.user.username)
    await nobody.sign_in(person.user.username)
    await person.post("/auth/logout-all")
    assert len(await ears.events(userId=person.id)) == 3


async def test_user_registered_and_session_refreshed(admin: Client, nobody: Client, listen: Listen) -> None:
    """`user-registered`, `session-refreshed`"""
    ears = await listen(admin, ["user-registered", "session-refreshed"])
    name = unique("registered")
    body = {"username": name, "email": f"{name}@example.org", "password": PASSWORD}
    user = await nobody.post("/auth/register", body, status=201)
    signed_in = await nobody.post("/auth/login", {"username": name, "password": PASSWORD})
    await nobody.post("/auth/refresh", {"refreshToken": signed_in["refreshToken"]})
    assert (await ears.data("user-registered", userId=user["id"]))["role"] == "worker"
    assert (await ears.data("session-refreshed", userId=user["id"]))["sessionId"] == signed_in["sessionId"]


async def test_a_webhook_gets_only_the_types_that_it_names(admin: Client, listen: Listen) -> None:
    """Webhooks may name the extended types; nobody gets them unasked."""
    ears = await listen(admin, ["item-created"])
    item = await admin.item(quantity=1, min_quantity=4, location_id=await admin.location())
    await admin.put(f"/items/{item['id']}", {"quantity": 2})
    await admin.delete(f"/items/{item['id']}")
    assert set(await ears.types()) == {"item-created"}


@pytest.mark.parametrize("role", ["supervisor", "foreman", "worker", "personnel"])
async def test_user_events_about_others_go_to_admins_only(
    clients: dict[str, Client], newcomer: Newcomer, listen: Listen, role: str
) -> None:
    """Who gets what: `user-*` about others only for admins"""
    owner = clients[role]
    assert owner.user is not None
    ears = await listen(owner, ["user-login", "user-logout", "user-registered"])
    stranger = await newcomer()
    await stranger.post("/auth/logout")
    again = await owner.sign_in(owner.user.username)
    await again.post("/auth/logout")
    await ears.hear("user-logout", userId=owner.id)
    page = await owner.get(f"/webhooks/{ears.id}/events")
    assert {event["data"]["userId"] for event in page["events"]} == {owner.id}


async def test_a_foreman_gets_the_events_of_assigned_locations_only(
    admin: Client, foreman: Client, listen: Listen
) -> None:
    """Who gets what: a foreman's assigned locations only"""
    ears = await listen(foreman, ["item-created", "item-updated"])
    assigned, other = await admin.location(foreman.id), await admin.location()
    theirs = await admin.item(location_id=assigned)
    others = await admin.item(location_id=other)
    nowhere = await admin.item()
    last = await admin.item(location_id=assigned)
    await ears.hear("item-created", itemId=last["id"])
    page = await foreman.get(f"/webhooks/{ears.id}/events")
    seen = {event["data"]["itemId"] for event in page["events"]}
    assert {theirs["id"], nowhere["id"], last["id"]} <= seen
    assert others["id"] not in seen


@pytest.mark.parametrize("role", ["admin", "supervisor", "worker", "personnel"])
async def test_all_but_foremen_get_the_items_of_every_location(
    admin: Client, clients: dict[str, Client], listen: Listen, role: str
) -> None:
    """A webhook receives what its owner may read: items, all."""
    ears = await listen(clients[role], ["item-created"])
    item: dict[str, Any] = await admin.item(location_id=await admin.location())
    await ears.hear("item-created", itemId=item["id"])
