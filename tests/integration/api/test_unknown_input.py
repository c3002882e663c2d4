"""No part of a request is ignored silently: unknown parameters are refused, and fields without an
effect are named."""

import re
from typing import Any
from uuid import uuid4

from service.api.routes import Route
from service.api.unknown import HEADER
from service.server.app import ROUTES
from tests.support.api.caller import Answer, Api, Caller
from tests.support.api.outbox import take_events
from tests.support.api.registration import ANNA
from tests.support.api.webhooks import URL, make_webhook
from tests.support.database import Connection


def _ignored(answer: Answer) -> set[str]:
    assert answer.status < 300, answer.body
    return set(answer.headers.get(HEADER, "").split(", ")) - {""}


def _path(route: Route) -> str:
    return re.sub(r"\{\w+\}", str(uuid4()), route.path)


async def test_every_route_refuses_a_parameter_that_it_does_not_know(admin: Caller) -> None:
    for route in ROUTES:
        answer = await admin.ask(route.method, _path(route), nonsense="1")
        assert (answer.status, answer.pointers) == (400, ["?nonsense"]), (route.method, route.path, answer.body)


async def test_parameters_that_begin_with_an_underscore_are_left_alone(admin: Caller) -> None:
    for route in ROUTES:
        if route.method == "GET" and "{" not in route.path and route.path != "/events/{id}/explain":
            answer = await admin.get(route.path, _="1760000000", _cache="no")
            assert answer.status == 200, (route.path, answer.body)


async def test_a_list_is_not_given_whole_where_a_filter_is_misspelt(admin: Caller) -> None:
    webhook = await make_webhook(admin)
    for path, name, near in (
        ("/items", "page", None),
        ("/items", "Status", "?status"),
        ("/items", "categoryId", "?category_id"),
        ("/checkouts", "over_due", "?overdue"),
        ("/webhooks", "isActive", "?active"),
        (f"/webhooks/{webhook['id']}/events", "eventType", None),
        (f"/webhooks/{webhook['id']}/stream", "limits", "?limit"),
        ("/audit", "actorId", "?actor_id"),
    ):
        answer = await admin.get(path, **{name: "true"})
        assert (answer.status, answer.pointers) == (400, [f"?{name}"])
        assert near is None or answer.body["detail"].endswith(f"did you mean {near}")


async def test_a_parameter_that_is_given_twice_is_refused(admin: Caller) -> None:
    answer = await admin.get("/items?status=lost&status=available")
    assert (answer.status, answer.pointers) == (400, ["?status"])


async def test_what_get_gave_is_taken_back_and_changes_nothing(admin: Caller, connection: Connection) -> None:
    user = await admin.make("/users", **ANNA)
    place = await admin.make("/locations", name="Yard", address="Linden Road 4")
    category = await admin.make("/categories", name="Pumps")
    item = await admin.make("/items", name="Pump", quantity=7, location_id=place["id"], category_id=category["id"])
    await take_events(connection)
    read_only = {
        f"/users/{user['id']}": {"id", "created_at", "updated_at"},
        f"/locations/{place['id']}": {"id", "foremen", "created_at", "updated_at"},
        f"/categories/{category['id']}": {"id", "created_at", "updated_at"},
        f"/items/{item['id']}": {"id", "reserved_quantity", "created_at", "updated_at"},
    }
    for path, names in read_only.items():
        before = await admin.get(path)
        answer = await admin.put(path, before.body)
        assert _ignored(answer) == names
        assert answer.body == before.body
        assert answer.headers["ETag"] == before.headers["ETag"]
    assert await take_events(connection) == []


async def test_what_get_and_post_gave_of_a_webhook_is_taken_back(admin: Caller, connection: Connection) -> None:
    made = await make_webhook(
        admin, headers={"X-Token": "secret value"}, filters={"minStockThreshold": 5}, rateLimit={"perSecond": 3}
    )
    path = f"/webhooks/{made['id']}"
    sealed = "select headers_sealed, secret_sealed from webhooks"
    before = await connection.fetchrow(sealed)
    assert before is not None
    shown = (await admin.get(path)).body["webhook"]
    for body in (made, shown):
        answer = await admin.put(path, body)
        names = {"id", "statistics", "breaker", "failingSince", "pausedUntil", "disabled", "blockedItems"}
        assert _ignored(answer) == names | {"createdAt", "updatedAt"}
        after = answer.body["webhook"]
        assert {**after, "updatedAt": None} == {**shown, "updatedAt": None}
    kept = await connection.fetchrow(sealed)
    assert kept is not None
    assert kept["secret_sealed"] == before["secret_sealed"]


async def test_a_users_name_is_changed_and_a_taken_one_is_refused(admin: Caller, connection: Connection) -> None:
    user = await admin.make("/users", **ANNA)
    await admin.make("/users", **{**ANNA, "username": "berta", "email": "berta@example.org"})
    await take_events(connection)
    answer = await admin.put(f"/users/{user['id']}", {"username": "anna.koehler"})
    assert (answer.status, answer.body["username"]) == (200, "anna.koehler")
    ((kind, data),) = await take_events(connection)
    assert kind == "user-updated"
    assert '"username":{"from":"Anna.K","to":"anna.koehler"}' in data
    taken = await admin.put(f"/users/{user['id']}", {"username": "BERTA"})
    assert (taken.status, taken.pointers) == (409, ["/username"])


async def test_a_user_is_made_with_the_status_that_was_asked_for(api: Api, admin: Caller) -> None:
    created = await admin.make("/users", **ANNA, status="suspended")
    assert created["status"] == "suspended"
    login = await api.post("/api/v1/auth/login", json={"username": ANNA["username"], "password": ANNA["password"]})
    assert login.status == 403


async def test_a_role_at_registration_has_no_effect_and_is_named(api: Api) -> None:
    async with api.post("/api/v1/auth/register", json={**ANNA, "role": "admin", "department": "x"}) as answer:
        assert (answer.status, answer.headers[HEADER]) == (201, "role, department")
        assert (await answer.json())["role"] == "worker"


async def test_known_fields_in_other_spellings_are_refused_together_with_other_faults(admin: Caller, api: Api) -> None:
    answer = await admin.post("/items", {"Name": "Pump", "minQuantity": 1, "quantity": -1})
    assert (answer.status, answer.pointers) == (400, ["/Name", "/minQuantity", "/name", "/quantity"])
    assert answer.body["errors"][1]["detail"] == "is spelled min_quantity here"
    answer = await admin.post("/webhooks", {"url": URL, "events": ["item-created"], "filters": {"Locations": []}})
    assert (answer.status, answer.pointers) == (400, ["/filters/Locations"])
    async with api.post("/api/v1/auth/register", json={**ANNA, "fullName": "Anna"}) as refused:
        assert refused.status == 400
    assert (await admin.get("/items")).body == []


async def test_fields_that_a_body_does_not_know_are_named_with_their_place(admin: Caller) -> None:
    body: dict[str, Any] = {"url": URL, "events": ["item-created"], "name": "x", "filters": {"color": "red"}}
    answer = await admin.post("/webhooks", body)
    assert _ignored(answer) == {"name", "filters.color"}
    many = await admin.post("/items", {"name": "A", **{f"field {number}": 1 for number in range(500)}})
    assert many.headers[HEADER].startswith("field%200, field%201, ")
    assert many.headers[HEADER].endswith(", and 480 more")


async def test_a_body_where_none_is_taken_is_named(admin: Caller) -> None:
    webhook = await make_webhook(admin)
    answer = await admin.ask("DELETE", f"/webhooks/{webhook['id']}", {"force": True})
    assert (answer.status, answer.headers[HEADER]) == (204, "force")
    for body in (b"[1]", b"no JSON"):
        session = await admin.post("/auth/logout-all", body)
        assert session.headers.get(HEADER) == "*" or session.status == 401


async def test_a_repeated_request_is_answered_with_the_same_names(admin: Caller) -> None:
    keyed = admin.sending(Idempotency_Key="k")
    first, again = [await keyed.post("/items", {"name": "A", "colour": "red"}) for _ in range(2)]
    assert again.headers["Idempotency-Replayed"] == "true"
    assert first.headers[HEADER] == again.headers[HEADER] == "colour"


async def test_texts_of_numbers_and_booleans_are_taken(admin: Caller) -> None:
    item = await admin.make("/items", name="A", quantity="12", min_quantity="3")
    assert (item["quantity"], item["min_quantity"]) == (12, 3)
    webhook = await make_webhook(admin, timeout="5000", retryPolicy={"maxRetries": "0"}, active="false")
    assert (webhook["timeout"], webhook["retryPolicy"]["maxRetries"], webhook["active"]) == (5000, 0, False)
    refused = await admin.post("/items", {"name": "A", "quantity": "many"})
    assert (refused.status, refused.pointers) == (400, ["/quantity"])
