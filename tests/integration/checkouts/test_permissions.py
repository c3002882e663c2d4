"""Each role's permissions for each kind of checkout."""

from typing import Any

import pytest

from tests.support.api.caller import ROLES, Api, Caller, SignUp
from tests.support.api.checkout_yard import Yard
from tests.support.api.outbox import take_events
from tests.support.database import Connection

ACTIONS = ("authorize", "reject", "cancel", "checkin")
# own: the caller asked for it. other: another user did. assigned: another user did, and its item is
# where the caller is foreman.
ALLOWED = {
    "admin": {"own": {"read", *ACTIONS}, "other": {"read", *ACTIONS}},
    "supervisor": {"own": {"read", "cancel", "checkin"}, "other": {"read", "checkin"}},
    "foreman": {"own": {"read", "cancel"}, "other": set(), "assigned": {"read", "checkin"}},
    "worker": {"own": {"read", "cancel", "checkin"}, "other": set()},
    "personnel": {"own": {"read"}, "other": set()},
}


async def _checkout(yard: Yard, whose: Caller, status: str) -> dict[str, Any]:
    """Written into the database: through the API only an admin could get an active checkout, and
    personnel none."""
    active = status == "active"
    checkout_id = await yard.connection.fetchval(
        "insert into checkouts (item_id, user_id, quantity, status, authorized_by, authorized_at)"
        " values ($1, $2, 1, $3, $4, case when $5 then now() end) returning id",
        yard.pump["id"],
        whose.token.user_id,
        status,
        whose.token.user_id if active else None,
        active,
    )
    return {"id": str(checkout_id)}


@pytest.mark.parametrize("role", ROLES)
async def test_the_matrix_of_checkouts_holds(yard: Yard, api: Api, sign_up: SignUp, role: str) -> None:
    caller = yard.people[role]
    somebody = Caller(api, await sign_up("worker"))
    for whose, allowed in ALLOWED[role].items():
        if whose == "assigned":
            await yard.assign_foreman(yard.depot)
        owner = caller if whose == "own" else somebody
        for action in ACTIONS:
            checkout = await _checkout(yard, owner, "active" if action == "checkin" else "pending_authorization")
            read = await caller.get(f"/checkouts/{checkout['id']}")
            listed = await caller.get("/checkouts", user_id=str(owner.token.user_id), limit="200")
            done = await yard.act(caller, checkout, action)
            assert read.status == (200 if "read" in allowed else 403), whose
            assert (checkout["id"] in {one["id"] for one in listed.body}) == ("read" in allowed), whose
            assert len(listed.body) == int(listed.headers["X-Total-Count"])
            assert done.status == (200 if action in allowed else 403), (whose, action)
    asked = await yard.ask_out(caller)
    assert asked.status == (403 if role == "personnel" else 201)


async def test_a_foreman_knows_what_goes_to_an_assigned_location_and_where_the_item_is_now(
    yard: Yard, connection: Connection
) -> None:
    foreman = yard.people["foreman"]
    going = await yard.check_out(yard.admin, destination_location_id=yard.site)
    staying = await yard.check_out(yard.admin)
    await yard.assign_foreman(yard.site)

    assert (await foreman.get("/checkouts")).body == [going]
    assert (await yard.act(foreman, staying, "checkin")).status == 403
    assert (await yard.act(foreman, going, "checkin")).status == 200
    await yard.admin.put(f"/items/{yard.pump['id']}/location", {"location_id": yard.site})
    assert [one["id"] for one in (await foreman.get("/checkouts")).body] == [going["id"], staying["id"]]
    assert (await yard.act(foreman, staying, "checkin")).status == 200


async def test_a_foreman_learns_nothing_from_a_refusal_about_an_item_that_they_may_not_read(yard: Yard) -> None:
    foreman, path = yard.people["foreman"], f"/items/{yard.pump['id']}"
    few = (await yard.ask_out(foreman, 11)).body
    await yard.admin.put(path, {"status": "maintenance"})
    away = (await yard.ask_out(foreman)).body
    assert (few["status"], away["status"]) == (403, 403)
    for word in ("Pump", "10", "maintenance"):
        assert word not in f"{few} {away}"
    await yard.assign_foreman(yard.depot)
    assert "Pump is maintenance" in (await yard.ask_out(foreman)).body["detail"]
    await yard.admin.put(path, {"status": "available", "location_id": None})
    assert "Pump has 10 left" in (await yard.ask_out(foreman, 11)).body["detail"]


async def test_a_refusal_leaves_nothing(yard: Yard, connection: Connection) -> None:
    asked = await yard.check_out(yard.worker)
    await take_events(connection)
    records = await connection.fetchval("select count(*) from audit")

    for action in ACTIONS:
        assert (await yard.act(yard.people["personnel"], asked, action)).status == 403

    assert await take_events(connection) == []
    assert await connection.fetchval("select count(*) from audit") == records
    assert (await yard.admin.get("/checkouts")).body == [asked]


async def test_nobody_signed_in_gets_anything(yard: Yard, api: Api) -> None:
    asked = await yard.check_out(yard.worker)
    path = f"/api/v1/checkouts/{asked['id']}"
    for method, where in (
        ("GET", "/api/v1/checkouts"),
        ("POST", "/api/v1/checkouts/checkout"),
        ("GET", path),
        *(("POST", f"{path}/{action}") for action in ACTIONS),
    ):
        assert (await api.request(method, where)).status == 401, where
