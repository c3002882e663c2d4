"""A webhook's secret: given or generated, never shown again, and rotated."""

import base64
import hashlib
import hmac
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from service.api.unknown import HEADER
from service.platform.settings import Settings
from tests.support.api.caller import Caller
from tests.support.api.outbox import take_events
from tests.support.api.webhooks import make_webhook
from tests.support.database import Connection
from tests.support.receivers.receiver import Arrival, Receiver
from tests.support.relay.processes import Relays

WHSEC = "whsec_" + base64.b64encode(bytes(range(24))).decode()
# The second one happens to be valid base64, and its text is the key all the same.
PLAIN = ("what WEBHOOK_SECRET had: ~!", "YWJjZGVmZ2hpamtsbW5vcA==")


@pytest.mark.parametrize("secret", [WHSEC, "whsec_" + base64.b64encode(bytes(64)).decode(), *PLAIN, "x" * 128])
async def test_a_given_secret_is_the_webhooks(owner: Caller, secret: str) -> None:
    webhook = await make_webhook(owner, secret=secret)
    assert webhook["secret"] == secret
    assert (await owner.put(f"/webhooks/{webhook['id']}", {"secret": secret})).status == 200


@pytest.mark.parametrize(
    "secret",
    [
        "x" * 15,
        "x" * 129,
        "sixteen chars or ½",
        "a line\nand another",
        "whsec_" + base64.b64encode(bytes(23)).decode(),
        "whsec_" + base64.b64encode(bytes(65)).decode(),
        "whsec_no base64, though long enough",
        WHSEC + "=",
        "whsec_" + base64.urlsafe_b64encode(b"\xff" * 30).decode(),
        "",
        None,
        5,
    ],
)
async def test_a_secret_that_cannot_be_one_is_refused_and_not_repeated(owner: Caller, secret: Any) -> None:
    body = {"url": "https://example.org/", "events": ["item-created"], "secret": secret}
    answer = await owner.post("/webhooks", body)
    assert (answer.status, answer.pointers) == (400, ["/secret"])
    assert not isinstance(secret, str) or not secret or secret not in str(answer.body)


async def test_a_webhook_is_made_inactive_where_that_was_asked_for(
    owner: Caller, admin: Caller, relays: Relays, receiver: Receiver, connection: Connection
) -> None:
    webhook = await make_webhook(admin, url=receiver.url, active=False)
    assert webhook["active"] is False
    await make_webhook(admin, url=receiver.url)
    await relays.start()
    await admin.make("/items", name="Pump")
    (arrived,) = await _arrivals(receiver, 1)
    assert arrived.headers["X-Webhook-ID"] != webhook["id"]
    assert await connection.fetchval("select count(*) from deliveries where webhook_id = $1", UUID(webhook["id"])) == 0


@pytest.mark.parametrize("secret", [None, WHSEC, *PLAIN])
async def test_both_signatures_hold_under_a_given_secret(
    admin: Caller, relays: Relays, receiver: Receiver, secret: str | None
) -> None:
    given = {} if secret is None else {"secret": secret}
    webhook = await make_webhook(admin, url=receiver.url, **given)
    await relays.start()
    await admin.make("/items", name="Pump")
    (arrived,) = await _arrivals(receiver, 1)
    _check_both(arrived, webhook["secret"])


async def _arrivals(receiver: Receiver, count: int) -> list[Arrival]:
    await receiver.wait_for(lambda: len(receiver.arrivals) >= count)
    return receiver.arrivals


def _check_both(arrived: Arrival, secret: str) -> None:
    assert arrived.headers["X-Webhook-Signature"] == _older(secret, arrived)
    _library(secret).verify(arrived.body, dict(arrived.headers))
    if not secret.startswith("whsec_"):
        Webhook(secret.encode()).verify(arrived.body, dict(arrived.headers))


def _older(secret: str, arrived: Arrival) -> str:
    data = arrived.body[arrived.body.index(b'"data":') + 7 : arrived.body.index(b',"timestamp"')]
    return hmac.new(secret.encode(), data, hashlib.sha256).hexdigest()


def _library(secret: str) -> Webhook:
    """As the guide says: the library decodes base64, so a secret that is used as text is encoded
    for it."""
    return Webhook(secret if secret.startswith("whsec_") else base64.b64encode(secret.encode()).decode())


async def test_while_a_rotation_lasts_either_secret_verifies_and_then_the_new_one_alone(
    admin: Caller, relays: Relays, receiver: Receiver, connection: Connection
) -> None:
    webhook = await make_webhook(admin, url=receiver.url, secret=PLAIN[0])
    path, old = f"/webhooks/{webhook['id']}", webhook["secret"]
    await relays.start()
    await admin.make("/items", name="Before")
    (before,) = await _arrivals(receiver, 1)
    _check_both(before, old)

    rotated = (await admin.post(f"{path}/secret/rotate", {"overlapSeconds": 600})).body["webhook"]
    new = rotated["secret"]
    assert new != old
    assert (await admin.get(path)).body["webhook"]["overlapUntil"] == rotated["overlapUntil"]
    for secret in (old, new):
        assert (await admin.put(path, {"secret": secret})).status == 200
    await admin.make("/items", name="During")
    (_, during) = await _arrivals(receiver, 2)
    assert len(during.headers["webhook-signature"].split()) == 2
    assert during.headers["X-Webhook-Signature"] == _older(old, during)
    for secret in (old, new):
        _library(secret).verify(during.body, dict(during.headers))
    pulled = (await admin.get(f"{path}/stream", after="earliest")).body["events"]
    assert pulled[1]["signature"] == _older(old, during)

    # As if the overlap had ended. The relay is not notified.
    await connection.execute("update webhooks set overlap_until = now() - interval '1 second', version = version + 1")
    assert "overlapUntil" not in (await admin.get(path)).body["webhook"]
    assert (await admin.put(path, {"secret": old})).status == 400
    await admin.make("/items", name="After")
    (_, _, after) = await _arrivals(receiver, 3)
    _check_both(after, new)
    with pytest.raises(WebhookVerificationError):
        _library(old).verify(after.body, dict(after.headers))
    pulled = (await admin.get(f"{path}/stream", after="earliest")).body["events"]
    assert pulled[2]["signature"] == _older(new, after)


async def test_a_second_rotation_waits_or_ends_the_first(owner: Caller) -> None:
    webhook = await make_webhook(owner)
    path = f"/webhooks/{webhook['id']}"
    first = (await owner.post(f"{path}/secret/rotate", None)).body["webhook"]
    assert first["overlapUntil"] > webhook["createdAt"]
    refused = await owner.post(f"{path}/secret/rotate", {"overlapSeconds": 60})
    assert (refused.status, refused.pointers) == (409, ["/overlapSeconds"])
    second = await owner.post(f"{path}/secret/rotate", {"overlapSeconds": 0})
    assert (second.status, "overlapUntil" in second.body["webhook"]) == (200, False)
    for secret in (webhook["secret"], first["secret"]):
        assert (await owner.put(path, {"secret": secret})).status == 400
    assert (await owner.put(path, {"secret": second.body["webhook"]["secret"]})).status == 200


@pytest.mark.parametrize("seconds", [-1, 604_801, 1.5, "long", None])
async def test_an_overlap_that_cannot_be_is_refused(owner: Caller, seconds: Any) -> None:
    webhook = await make_webhook(owner)
    answer = await owner.post(f"/webhooks/{webhook['id']}/secret/rotate", {"overlapSeconds": seconds})
    assert (answer.status, answer.pointers) == (400, ["/overlapSeconds"])


async def test_a_rotation_is_told_and_audited_without_the_secret(
    owner: Caller, admin: Caller, connection: Connection
) -> None:
    webhook = await make_webhook(owner, url="https://chat.example.org:8443/hooks/token?key=k")
    path = f"/webhooks/{webhook['id']}/secret/rotate"
    rotated = (await admin.post(path, {"overlapSeconds": 60})).body["webhook"]
    ((kind, data),) = await take_events(connection)
    assert kind == "secret-rotated"
    assert (
        f'"userId":"{owner.token.user_id}","url":"https://chat.example.org:8443","rotatedBy":"{admin.token.user_id}"'
        in data
    )
    assert f'"overlapUntil":"{rotated["overlapUntil"]}"' in data
    audit = await connection.fetchrow("select * from audit where action = 'rotate-secret'")
    assert audit is not None
    assert rotated["overlapUntil"] in audit["after"]
    for text in (data, audit["before"], audit["after"]):
        assert webhook["secret"] not in text
        assert rotated["secret"] not in text


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        ("https://iris:hunter2@chat.example.org/hooks/token", "https://chat.example.org"),
        ("https://[::1]:8443/hooks/token", "https://[::1]:8443"),
        ("https://[", "(not a URL)"),
    ],
)
async def test_a_rotation_shows_no_login_of_a_url_that_psql_wrote(
    owner: Caller, connection: Connection, stored: str, shown: str
) -> None:
    webhook = await make_webhook(owner)
    await connection.execute("update webhooks set url = $2 where id = $1", webhook["id"], stored)
    assert (await owner.post(f"/webhooks/{webhook['id']}/secret/rotate", None)).status == 200
    ((_, data),) = await take_events(connection)
    assert f'"url":"{shown}"' in data


async def test_a_rotation_under_a_key_is_done_once(owner: Caller) -> None:
    webhook = await make_webhook(owner)
    keyed = owner.sending(Idempotency_Key="k")
    first, again = [await keyed.post(f"/webhooks/{webhook['id']}/secret/rotate", {}) for _ in range(2)]
    assert first.body == again.body


async def test_a_relay_that_keeps_a_target_in_memory_stops_signing_twice_when_the_overlap_ends(
    admin: Caller, connection: Connection, settings: Settings, relays: Relays, receiver: Receiver
) -> None:
    webhook = await make_webhook(admin, url=receiver.url)
    await admin.post(f"/webhooks/{webhook['id']}/secret/rotate", {"overlapSeconds": 1})
    await relays.start()
    signatures = 2
    number = 0
    while signatures == 2:
        number += 1
        await admin.make("/items", name=f"Pump {number}")
        arrived = (await _arrivals(receiver, number))[-1]
        signatures = len(arrived.headers["webhook-signature"].split())
    assert await connection.fetchval("select clock_timestamp() >= overlap_until from webhooks")


async def test_what_a_rotation_does_not_know_is_named(owner: Caller) -> None:
    webhook = await make_webhook(owner)
    answer = await owner.post(f"/webhooks/{webhook['id']}/secret/rotate", {"secret": "x" * 20})
    assert (answer.status, answer.headers[HEADER]) == (200, "secret")


async def test_a_previous_secret_stands_beside_its_end(connection: Connection, owner: Caller) -> None:
    await make_webhook(owner)
    with pytest.raises(asyncpg.CheckViolationError):
        await connection.execute("update webhooks set overlap_until = now()")
