"""Creating webhooks, and keeping their secrets."""

import base64
from uuid import UUID

import orjson
import pytest
from aiohttp.test_utils import TestClient, TestServer
from pydantic import SecretStr

from service.platform.ids import new_id
from service.platform.settings import Settings
from service.platform.vault import Vault, new_key, parse_key
from service.server.app import make_app
from tests.support.api.caller import Caller, SignUp
from tests.support.api.webhooks import URL, make_webhook
from tests.support.database import Connection
from tests.support.environment import WEBHOOK_SECRET_KEYS
from tests.support.formats import TIME
from tests.support.relay.log import RelayLog

NO_STATISTICS = {
    "totalEvents": 0,
    "successfulDeliveries": 0,
    "failedDeliveries": 0,
    "successRate": "0.00",
    "lastDelivery": None,
    "lastFailure": None,
}


# Create


async def test_the_documents_webhooks_can_be_created_as_they_stand_there(owner: Caller) -> None:
    alerts = b"""{
    "url": "https://your-app.com/webhooks/inventory",
    "events": ["low-stock-alert"],
    "filters": {
      "minStockThreshold": 5
    }
  }"""
    transfers = b"""{
    "url": "https://your-app.com/webhooks/transfers",
    "events": ["transfer-approval-needed", "transfer-approved"]
  }"""
    for body in (alerts, transfers):
        answer = await owner.post("/webhooks", body)
        assert answer.status == 201
        assert answer.body["webhook"]["url"] == orjson.loads(body)["url"]
        assert answer.body["webhook"]["events"] == orjson.loads(body)["events"]


async def test_a_created_webhook_has_the_defaults_and_its_secret(owner: Caller) -> None:
    answer = await owner.post("/webhooks", {"url": URL, "events": ["item-created", "user-login"]})

    assert answer.status == 201
    assert set(answer.body) == {"webhook", "message"}
    webhook = answer.body["webhook"]
    assert UUID(webhook["id"]).version == 7
    assert TIME.fullmatch(webhook["createdAt"])
    assert webhook["updatedAt"] == webhook["createdAt"]
    prefix, _, key = webhook["secret"].partition("_")
    assert prefix == "whsec"
    assert len(base64.b64decode(key, validate=True)) == 32
    assert {name: webhook[name] for name in webhook if name not in {"id", "secret", "createdAt", "updatedAt"}} == {
        "url": URL,
        "events": ["item-created", "user-login"],
        "active": True,
        "filters": {"locations": [], "categories": [], "minStockThreshold": None},
        "headers": {},
        "description": None,
        "retryPolicy": {"maxRetries": 3, "retryDelay": 5000},
        "timeout": 30000,
        "rateLimit": None,
        "ordering": None,
        "onFailure": None,
        "blockedItems": 0,
        "statistics": NO_STATISTICS,
        "breaker": {"state": "closed", "consecutiveFailures": 0, "openedAt": None, "nextProbe": None},
        "failingSince": None,
        "pausedUntil": None,
        "disabled": None,
    }


async def test_the_settings_give_the_defaults(settings: Settings, database_url: str, sign_up: SignUp) -> None:
    settings = settings.model_copy(
        update={"webhook_max_retries": 7, "webhook_retry_delay": 250, "webhook_timeout": 9000}
    )
    async with TestClient(TestServer(make_app(settings, database_url))) as api:
        webhook = await make_webhook(Caller(api, await sign_up("worker")), retryPolicy={"maxRetries": 0})
    assert webhook["retryPolicy"] == {"maxRetries": 0, "retryDelay": 250}
    assert webhook["timeout"] == 9000


async def test_a_webhook_is_what_was_asked_for(owner: Caller, admin: Caller) -> None:
    place, kind = await admin.make("/locations", name="Depot"), await admin.make("/categories", name="Pumps")
    webhook = await make_webhook(
        owner,
        filters={"locations": [place["id"], place["id"]], "categories": [kind["id"]], "minStockThreshold": 5},
        headers={"Authorization": "Bearer xyz", "X-Empty": ""},
        retryPolicy={"maxRetries": 20, "retryDelay": 100},
        timeout=60000,
    )
    assert webhook["filters"] == {"locations": [place["id"]], "categories": [kind["id"]], "minStockThreshold": 5}
    assert webhook["headers"] == {"Authorization": "[set]", "X-Empty": "[set]"}
    assert webhook["retryPolicy"] == {"maxRetries": 20, "retryDelay": 100}
    assert webhook["timeout"] == 60000


async def test_every_bad_field_is_named_at_once(owner: Caller) -> None:
    answer = await owner.post(
        "/webhooks",
        {
            "url": "ftp://example.org",
            "events": ["item-created", "nonsense"],
            "filters": {"locations": ["loc-123"], "minStockThreshold": 0},
            "headers": {"Host": "x", "X-A": "a\nb"},
            "retryPolicy": {"maxRetries": 21, "retryDelay": 99},
            "timeout": 4999,
        },
    )
    assert answer.status == 400
    assert sorted(answer.pointers) == [
        "/events/1",
        "/filters/locations/0",
        "/filters/minStockThreshold",
        "/headers/Host",
        "/headers/X-A",
        "/retryPolicy/maxRetries",
        "/retryPolicy/retryDelay",
        "/timeout",
        "/url",
    ]
    assert answer.body["error"] == answer.body["detail"]


async def test_what_is_missing_is_named(owner: Caller) -> None:
    answer = await owner.post("/webhooks", {})
    assert (answer.status, answer.pointers) == (400, ["/url", "/events"])


async def test_filters_name_what_exists(owner: Caller, admin: Caller) -> None:
    place = await admin.make("/locations", name="Depot")
    unknown = str(new_id())
    answer = await owner.post(
        "/webhooks",
        {
            "url": URL,
            "events": ["item-created"],
            "filters": {"locations": [place["id"], place["id"], unknown], "categories": [unknown, place["id"]]},
        },
    )
    assert answer.status == 400
    assert answer.pointers == ["/filters/locations/2", "/filters/categories/0", "/filters/categories/1"]


async def test_a_webhook_may_be_put_back_as_it_was_read_although_a_place_of_its_filter_is_gone(
    owner: Caller, admin: Caller
) -> None:
    places = [(await admin.make("/locations", name=name))["id"] for name in ("Depot", "Site")]
    group = (await admin.make("/categories", name="Tools"))["id"]
    filters = {"locations": places, "categories": [group]}
    created = await owner.make("/webhooks", url=URL, events=["item-created"], filters=filters)
    path = f"/webhooks/{created['webhook']['id']}"
    await admin.delete(f"/locations/{places[0]}")
    await admin.delete(f"/categories/{group}")

    read = (await owner.get(path)).body["webhook"]
    answer = await owner.put(path, {**read, "description": "changed"})
    assert (answer.status, answer.body["webhook"]["filters"]) == (200, read["filters"])
    unknown = {"locations": [places[0], str(new_id())], "categories": [group]}
    refused = await owner.put(path, {"filters": unknown})
    assert (refused.status, refused.pointers) == (400, ["/filters/locations/1"])


async def test_only_https_is_taken_where_the_settings_say_so(
    settings: Settings, database_url: str, sign_up: SignUp
) -> None:
    async with TestClient(
        TestServer(make_app(settings.model_copy(update={"webhook_https_only": True}), database_url))
    ) as api:
        caller = Caller(api, await sign_up("worker"))
        webhook = await make_webhook(caller)
        refused = [
            await caller.post("/webhooks", {"url": "http://example.org/", "events": ["item-created"]}),
            await caller.put(f"/webhooks/{webhook['id']}", {"url": "http://example.org/"}),
        ]
    assert [(answer.status, answer.pointers) for answer in refused] == [(400, ["/url"])] * 2


async def test_the_mask_is_no_value_for_a_new_header(owner: Caller) -> None:
    answer = await owner.post("/webhooks", {"url": URL, "events": ["item-created"], "headers": {"X-Key": "[set]"}})
    assert (answer.status, answer.pointers) == (400, ["/headers/X-Key"])


async def test_creation_resolves_no_name(owner: Caller) -> None:
    await make_webhook(owner, url="https://no-such-host.invalid/hook")
    await make_webhook(owner, url="http://127.0.0.1:9/hook")


# Secrets


async def test_secret_and_headers_are_sealed_and_a_new_key_in_front_still_opens_them(
    owner: Caller, connection: Connection, settings: Settings, database_url: str
) -> None:
    webhook = await make_webhook(owner, headers={"Authorization": "Bearer hunter2"})
    row = await connection.fetchrow("select id, secret_sealed, headers_sealed from webhooks")
    assert row is not None
    for sealed in (row["secret_sealed"], row["headers_sealed"]):
        for plain in (webhook["secret"].encode(), webhook["secret"].encode()[6:], b"hunter2", b"Authorization"):
            assert plain not in sealed
    old = Vault([parse_key(WEBHOOK_SECRET_KEYS)])
    assert old.open(row["secret_sealed"], row["id"].bytes).decode() == webhook["secret"]
    assert orjson.loads(old.open(row["headers_sealed"], row["id"].bytes)) == {"Authorization": "Bearer hunter2"}

    rotated = settings.model_copy(update={"webhook_secret_keys": SecretStr(f"{new_key()},{WEBHOOK_SECRET_KEYS}")})
    async with TestClient(TestServer(make_app(rotated, database_url))) as api:
        shown = await Caller(api, owner.token).get(f"/webhooks/{webhook['id']}")
        assert shown.body["webhook"]["headers"] == {"Authorization": "[set]"}
        changed = await Caller(api, owner.token).put(
            f"/webhooks/{webhook['id']}", {"headers": {"Authorization": "[set]", "X-New": "n"}}
        )
        assert changed.status == 200
    resealed = await connection.fetchval("select headers_sealed from webhooks")
    assert orjson.loads(rotated.vault().open(resealed, row["id"].bytes)) == {
        "Authorization": "Bearer hunter2",
        "X-New": "n",
    }
    assert resealed[:4] != row["headers_sealed"][:4]

    lost = settings.model_copy(update={"webhook_secret_keys": SecretStr(new_key())})
    async with TestClient(TestServer(make_app(lost, database_url))) as api:
        for path in ("", "/stream"):
            answer = await Caller(api, owner.token).get(f"/webhooks/{webhook['id']}{path}")
            assert answer.status == 503
            assert "WEBHOOK_SECRET_KEYS" in answer.body["detail"]


async def test_the_secret_is_shown_once_and_kept_nowhere_in_the_clear(
    owner: Caller, connection: Connection, capfd: pytest.CaptureFixture[str]
) -> None:
    webhook = await make_webhook(owner, headers={"X-Key": "hunter2"})
    path = f"/webhooks/{webhook['id']}"
    event = await RelayLog(connection).failed(webhook["id"])
    answers = [
        await owner.get("/webhooks"),
        await owner.get(path),
        await owner.put(path, {"active": True, "headers": {"X-Key": "[set]"}}),
        await owner.get(f"{path}/events"),
        await owner.post(f"{path}/events/{event.id}/retry", None),
        await owner.get(f"{path}/stats"),
        await owner.put(path, {"secret": webhook["secret"]}),
        await owner.delete(path),
    ]
    assert [answer.status for answer in answers] == [200, 200, 200, 200, 200, 200, 200, 204]
    for answer in answers:
        assert "secret" not in str(answer.body).lower()
    seen = [str(answer.body) for answer in answers]
    for table in ("webhooks", "audit", "attempts", "deliveries", "outbox"):
        seen += [str(row[0]) for row in await connection.fetch(f"select row_to_json(t)::text from {table} as t")]
    seen += capfd.readouterr()
    for text in seen:
        assert webhook["secret"] not in text
        assert webhook["secret"][6:] not in text
        assert "hunter2" not in text
