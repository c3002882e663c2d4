"""Reading, changing and removing webhooks."""

import asyncio
from typing import Any
from uuid import UUID

import orjson
import pytest

from service.platform.ids import new_id
from service.platform.settings import Settings
from tests.support.api.caller import Api, Caller, SignUp
from tests.support.api.webhooks import URL, make_webhook
from tests.support.database import Connection
from tests.support.relay.log import RelayLog


async def _audit(connection: Connection, webhook_id: str) -> list[tuple[str, Any, Any]]:
    rows = await connection.fetch(
        "select action, before, after from audit where entity = 'webhook' and entity_id = $1 order by id",
        UUID(webhook_id),
    )
    return [
        (row["action"], *(value and orjson.loads(value) for value in (row["before"], row["after"]))) for row in rows
    ]


# Read


async def test_a_list_has_ones_own_webhooks_oldest_first_and_an_admins_has_all(
    owner: Caller, admin: Caller, api: Api, sign_up: SignUp
) -> None:
    first, second = await make_webhook(owner), await make_webhook(owner)
    other = await make_webhook(Caller(api, await sign_up("personnel")))

    own = await owner.get("/webhooks")
    assert own.status == 200
    assert [webhook["id"] for webhook in own.body["webhooks"]] == [first["id"], second["id"]]
    fields = ["id", "url", "events", "active", "filters", "statistics", "createdAt", "updatedAt", "owner", "breaker"]
    assert [list(webhook) for webhook in own.body["webhooks"]] == [fields, fields]
    everything = await admin.get("/webhooks")
    assert [webhook["id"] for webhook in everything.body["webhooks"]] == [first["id"], second["id"], other["id"]]


async def test_a_list_may_be_of_the_active_or_the_others(owner: Caller) -> None:
    active, parked = await make_webhook(owner), await make_webhook(owner)
    await owner.put(f"/webhooks/{parked['id']}", {"active": False})
    for text, expected in (("true", active), ("false", parked)):
        answer = await owner.get("/webhooks", active=text)
        assert [webhook["id"] for webhook in answer.body["webhooks"]] == [expected["id"]]
    refused = await owner.get("/webhooks", active="perhaps")
    assert (refused.status, refused.pointers) == (400, ["?active"])


async def test_a_webhook_is_read_as_it_was_created_without_its_secret(owner: Caller) -> None:
    created = await make_webhook(owner, headers={"X-Key": "k"}, timeout=5000)
    answer = await owner.get(f"/webhooks/{created['id']}")
    del created["secret"]
    assert (answer.status, answer.body) == (200, {"webhook": created})


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("PUT", ""),
        ("DELETE", ""),
        ("GET", "/events"),
        ("GET", "/events/0198c0de-7a11-7c3e-9f00-5b7d3c2a1e10"),
        ("POST", "/events/0198c0de-7a11-7c3e-9f00-5b7d3c2a1e10/retry"),
        ("POST", "/events/0198c0de-7a11-7c3e-9f00-5b7d3c2a1e10/skip"),
        ("GET", "/stats"),
        ("POST", "/test"),
    ],
)
async def test_a_webhook_is_its_owners_and_an_admins(
    method: str, path: str, owner: Caller, api: Api, sign_up: SignUp
) -> None:
    webhook, gone = await make_webhook(owner), await make_webhook(owner)
    assert (await owner.delete(f"/webhooks/{gone['id']}")).status == 204
    body: dict[str, Any] | None = {} if method == "PUT" else None

    for role in ("worker", "supervisor", "foreman", "personnel"):
        other = Caller(api, await sign_up(role))
        assert (await other.ask(method, f"/webhooks/{webhook['id']}{path}", body)).status == 403
    for caller in (owner, Caller(api, await sign_up("admin"))):
        for unknown in (gone["id"], str(new_id()), "not-an-id"):
            assert (await caller.ask(method, f"/webhooks/{unknown}{path}", body)).status == 404
    async with api.request(method, f"/api/v1/webhooks/{webhook['id']}{path}") as response:
        assert response.status == 401


async def test_an_admin_manages_the_webhooks_of_others(owner: Caller, admin: Caller) -> None:
    webhook = await make_webhook(owner)
    path = f"/webhooks/{webhook['id']}"
    assert (await admin.get(path)).body["webhook"]["id"] == webhook["id"]
    assert (await admin.put(path, {"active": False})).body["webhook"]["active"] is False
    assert (await owner.get(path)).body["webhook"]["active"] is False
    assert (await admin.delete(path)).status == 204


# Update


async def test_an_update_changes_what_it_names_and_nothing_else(
    owner: Caller, admin: Caller, connection: Connection
) -> None:
    place, kind = await admin.make("/locations", name="Depot"), await admin.make("/categories", name="Pumps")
    webhook = await make_webhook(
        owner, headers={"X-Key": "k"}, filters={"locations": [place["id"]], "minStockThreshold": 3}
    )
    path = f"/webhooks/{webhook['id']}"
    del webhook["secret"]
    changes: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"url": "http://example.org/b"}, {}),
        ({"events": ["user-login"]}, {}),
        ({"headers": {"x-key": "[set]", "X-Other": "o"}}, {"headers": {"x-key": "[set]", "X-Other": "[set]"}}),
        ({"retryPolicy": {"maxRetries": 1}}, {"retryPolicy": {"maxRetries": 1, "retryDelay": 5000}}),
        ({"retryPolicy": {"retryDelay": 60000}}, {"retryPolicy": {"maxRetries": 1, "retryDelay": 60000}}),
        ({"timeout": 5000}, {}),
        (
            {"filters": {"categories": [kind["id"]]}},
            {"filters": {"locations": [], "categories": [kind["id"]], "minStockThreshold": None}},
        ),
        ({"filters": {}}, {"filters": {"locations": [], "categories": [], "minStockThreshold": None}}),
        ({"headers": None}, {"headers": {}}),
        ({"active": False}, {}),
        ({"active": True}, {}),
        ({}, {}),
    ]
    version = 1
    for sent, shown in changes:
        answer = await owner.put(path, sent)
        assert answer.status == 200, answer.body
        assert set(answer.body) == {"webhook", "message"}
        old, webhook = webhook, {**webhook, **sent, **shown, "updatedAt": answer.body["webhook"]["updatedAt"]}
        assert answer.body["webhook"] == webhook
        assert (await owner.get(path)).body["webhook"] == webhook
        before, version = version, await connection.fetchval("select version from webhooks")
        changed = any(webhook[name] != old[name] for name in webhook if name != "updatedAt")
        assert (version > before, webhook["updatedAt"] > old["updatedAt"]) == (changed, changed), sent


async def test_the_mask_keeps_the_value_that_is_sent(owner: Caller, connection: Connection, settings: Settings) -> None:
    webhook = await make_webhook(owner, headers={"Authorization": "Bearer xyz", "X-Old": "old"})
    path = f"/webhooks/{webhook['id']}"
    await owner.put(path, {"headers": {"authorization": "[set]", "X-New": "new"}})
    row = await connection.fetchrow("select id, headers_sealed from webhooks")
    assert row is not None
    opened = settings.vault().open(row["headers_sealed"], row["id"].bytes)
    assert orjson.loads(opened) == {"authorization": "Bearer xyz", "X-New": "new"}
    refused = await owner.put(path, {"headers": {"X-Old": "[set]"}})
    assert (refused.status, refused.pointers) == (400, ["/headers/X-Old"])


async def test_what_was_read_can_be_sent_back(owner: Caller, admin: Caller) -> None:
    place = await admin.make("/locations", name="Depot")
    webhook = await make_webhook(owner, headers={"X-Key": "k"}, filters={"locations": [place["id"]]})
    path = f"/webhooks/{webhook['id']}"
    read = (await owner.get(path)).body["webhook"]
    answer = await owner.put(path, read)
    assert answer.status == 200
    assert answer.body["webhook"] == read


async def test_only_the_present_secret_can_be_put(owner: Caller) -> None:
    webhook = await make_webhook(owner)
    other = await make_webhook(owner)
    for secret in (other["secret"], webhook["secret"][:-1], None, ""):
        refused = await owner.put(f"/webhooks/{webhook['id']}", {"secret": secret, "timeout": 5000})
        assert (refused.status, refused.pointers) == (400, ["/secret"])
        assert not secret or secret not in str(refused.body)
    assert (await owner.get(f"/webhooks/{webhook['id']}")).body["webhook"]["timeout"] == 30000
    taken = await owner.put(f"/webhooks/{webhook['id']}", {"secret": webhook["secret"], "timeout": 5000})
    assert (taken.status, taken.body["webhook"]["timeout"]) == (200, 5000)


async def test_an_inactive_webhook_is_parked_and_resumed_with_what_was_pending(
    owner: Caller, connection: Connection
) -> None:
    webhook = await make_webhook(owner)
    path = f"/webhooks/{webhook['id']}"
    log = RelayLog(connection)
    await log.event(webhook["id"])
    await owner.put(path, {"active": False})
    assert await connection.fetchval("select count(*) from subscriptions") == 0
    assert await connection.fetchval("select count(*) from lane_wakes") == 0

    await owner.put(path, {"active": True})
    assert await connection.fetchval("select count(*) from subscriptions") == 1
    assert await connection.fetchval("select discard_through from webhooks") == 0
    assert await connection.fetchval("select webhook_id from lane_wakes") == UUID(webhook["id"])
    assert await connection.fetchval("select count(*) from deliveries") == 1


async def test_a_webhook_may_be_resumed_without_what_was_pending(owner: Caller, connection: Connection) -> None:
    webhook = await make_webhook(owner)
    path = f"/webhooks/{webhook['id']}"
    log = RelayLog(connection)
    pending = await log.event(webhook["id"])
    await owner.put(path, {"active": False})
    newest = await log.event()
    answer = await owner.put(path, {"active": True, "pending": "discard"})
    assert answer.status == 200
    assert answer.body["webhook"]["active"] is True
    discarded = await connection.fetchval("select discard_through from webhooks")
    assert pending.position < newest.position == discarded

    for body in ({"pending": "discard"}, {"pending": "discard", "active": False}, {"pending": "x", "active": True}):
        assert (await owner.put(path, body)).status == 400


async def test_a_sleeping_relay_is_rung_when_a_webhook_is_resumed(
    owner: Caller, connection: Connection, database_url: str
) -> None:
    webhook = await make_webhook(owner)
    # A relay that sleeps holds this lock. A writer that rings finds it taken and notifies.
    await connection.execute("select pg_advisory_lock(1246712659, 2)")
    rung = asyncio.Event()
    await connection.add_listener("jossiedb_wake", lambda *_: rung.set())
    await owner.put(f"/webhooks/{webhook['id']}", {"active": False})
    # A notification sent before the answer would arrive with the next query on this connection.
    assert await connection.fetchval("select 1")
    assert not rung.is_set()
    await owner.put(f"/webhooks/{webhook['id']}", {"active": True})
    async with asyncio.timeout(30):
        await rung.wait()


# Delete


async def test_a_deleted_webhook_is_gone_at_once_and_owes_nothing(owner: Caller, connection: Connection) -> None:
    webhook, kept = await make_webhook(owner), await make_webhook(owner)
    await RelayLog(connection).event(webhook["id"])
    answer = await owner.delete(f"/webhooks/{webhook['id']}")
    assert (answer.status, answer.body) == (204, None)

    assert [shown["id"] for shown in (await owner.get("/webhooks")).body["webhooks"]] == [kept["id"]]
    row = await connection.fetchrow("select * from webhooks where id = $1", UUID(webhook["id"]))
    assert row is not None
    assert row["deleted_at"] is not None
    assert (row["active"], row["discard_through"], row["version"] > 1) == (False, 2**63 - 1, True)
    assert await connection.fetchval("select webhook_id from lane_wakes") == UUID(webhook["id"])
    assert {row["webhook_id"] for row in await connection.fetch("select webhook_id from subscriptions")} == {
        UUID(kept["id"])
    }


# Warnings


async def test_a_private_receiver_is_warned_about_when_its_url_is_given(owner: Caller) -> None:
    created = await owner.post("/webhooks", {"url": "http://10.0.0.5/hook", "events": ["item-created"]})
    assert created.status == 201
    warning = {
        "pointer": "/url",
        "detail": "10.0.0.5 is a private address, and not in WEBHOOK_ALLOWED_NETWORKS; nothing is sent there until the operator"
        " lists its network",
    }
    assert created.body["warnings"] == [warning]
    path = f"/webhooks/{created.body['webhook']['id']}"
    assert (await owner.put(path, {"url": URL})).body.keys() == {"webhook", "message"}
    updated = await owner.put(path, {"url": "http://10.0.0.5/other"})
    assert (updated.status, updated.body["warnings"]) == (200, [warning])
    assert (await owner.put(path, {"timeout": 5000})).body.keys() == {"webhook", "message"}
    # The tests' relays may send there.
    allowed = await owner.post("/webhooks", {"url": "http://127.0.0.1/hook", "events": ["item-created"]})
    assert allowed.body.keys() == {"webhook", "message"}


# Audit


async def test_the_audit_trail_has_each_change_without_secrets(owner: Caller, connection: Connection) -> None:
    webhook = await make_webhook(owner, headers={"X-Key": "hunter2"})
    path = f"/webhooks/{webhook['id']}"
    await owner.put(path, {"timeout": 5000, "headers": {"X-Key": "[set]", "X-More": "m"}})
    await owner.delete(path)

    (created, none, first), (updated, before, after), (deleted, last, nothing) = await _audit(connection, webhook["id"])
    assert (created, updated, deleted) == ("create", "update", "delete")
    assert none is None
    assert nothing is None
    assert first == before
    assert first == {
        "id": webhook["id"],
        "url": "https://your-app.com",
        "events": ["item-created"],
        "active": True,
        "filters": {"locations": [], "categories": [], "minStockThreshold": None},
        "createdAt": webhook["createdAt"],
        "headers": {"X-Key": "[set]"},
        "description": None,
        "retryPolicy": {"maxRetries": 3, "retryDelay": 5000},
        "timeout": 30000,
        "rateLimit": None,
        "disabled": None,
        "ordering": None,
        "onFailure": None,
    }
    assert after == {**before, "timeout": 5000, "headers": {"X-Key": "[set]", "X-More": "[set]"}}
    assert {**last, "headers": after["headers"]} == after
    actors = await connection.fetch("select distinct actor_id from audit where entity = 'webhook'")
    assert [row["actor_id"] for row in actors] == [owner.token.user_id]


async def test_a_refused_change_leaves_no_trace(owner: Caller, connection: Connection) -> None:
    webhook = await make_webhook(owner)
    await owner.put(f"/webhooks/{webhook['id']}", {"filters": {"locations": [str(new_id())]}, "timeout": 5000})
    assert [action for action, _, _ in await _audit(connection, webhook["id"])] == ["create"]
    assert await connection.fetchval("select version from webhooks") == 1
