"""Contract, section 2: the request that a receiver gets, bullet by bullet."""

import base64
import hashlib
import hmac
import json
import re
import time
from itertools import pairwise
from typing import Any

import pytest

from tests.support.contract.client import Client
from tests.support.contract.ears import Listen, answering
from tests.support.formats import TIME, UUID7

TRICKY = 'Hydraulic “Pump” ½ 漢字 \u2028 "quoted" \\ </script>'


def compact(value: Any) -> bytes:
    """The text as JSON.stringify writes it, for integers and strings."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


async def test_the_body_has_its_keys_in_order(admin: Client, listen: Listen) -> None:
    """{"id": "<event id>", "eventType": …, "data": {…}, "timestamp": …, "attempt": 1}"""
    ears = await listen(admin, ["item-created"])
    item = await admin.item()
    arrival = await ears.hear("item-created", itemId=item["id"])
    assert arrival.headers["Content-Type"] == "application/json"
    assert list(arrival.envelope) == ["id", "eventType", "data", "timestamp", "attempt"]
    assert UUID7.fullmatch(arrival.envelope["id"])
    assert TIME.fullmatch(arrival.envelope["timestamp"])
    assert arrival.envelope["timestamp"][:13] == item["created_at"][:13]
    assert arrival.envelope["attempt"] == 1


async def test_the_method_is_post_and_the_path_that_of_the_url(admin: Client, listen: Listen) -> None:
    """`POST` to the webhook's URL"""
    ears = await listen(admin, ["item-created"])
    await admin.put(f"/webhooks/{ears.id}", {"url": f"{ears.receiver.url}/in/here?token=1"})
    item = await admin.item()
    assert (await ears.hear("item-created", itemId=item["id"])).path == "/in/here"


async def test_the_headers_are_the_contracts_and_the_owners(admin: Client, listen: Listen) -> None:
    """Headers: `X-Webhook-Signature`, `X-Webhook-ID`, `X-Event-Type`, and the webhook's custom
    headers."""
    ears = await listen(admin, ["item-created"], headers={"Authorization": "Bearer xyz", "X-Mine": "mine"})
    item = await admin.item()
    arrival = await ears.hear("item-created", itemId=item["id"])
    assert re.fullmatch("[0-9a-f]{64}", arrival.headers["X-Webhook-Signature"])
    assert arrival.headers["X-Webhook-ID"] == ears.id
    assert arrival.headers["X-Event-Type"] == "item-created"
    assert arrival.headers["Authorization"] == "Bearer xyz"
    assert arrival.headers["X-Mine"] == "mine"


@pytest.mark.parametrize("name", ["Plain", TRICKY, "\U0001f529 \ue000 \x7f \u0007"])
async def test_both_signatures_fit(admin: Client, listen: Listen, name: str) -> None:
    """`X-Webhook-Signature`: hex HMAC-SHA256, key = the secret string as UTF-8, message = `data`;
    and Standard Webhooks."""
    ears = await listen(admin, ["item-created"])
    item = await admin.item(name=name)
    arrival = await ears.hear("item-created", itemId=item["id"])
    data = compact(arrival.envelope["data"])
    assert data in arrival.body
    assert arrival.envelope["data"]["name"] == name
    expected = hmac.new(ears.secret.encode(), data, hashlib.sha256).hexdigest()
    assert arrival.headers["X-Webhook-Signature"] == expected

    assert arrival.headers["webhook-id"] == arrival.event_id
    sent_at = arrival.headers["webhook-timestamp"]
    assert abs(int(sent_at) - time.time()) < 300
    key = base64.b64decode(ears.secret.removeprefix("whsec_"))
    message = f"{arrival.event_id}.{sent_at}.".encode() + arrival.body
    standard = base64.b64encode(hmac.new(key, message, hashlib.sha256).digest()).decode()
    assert arrival.headers["webhook-signature"].split(" ") == [f"v1,{standard}"]


async def test_the_secret_is_whsec_and_the_base64_of_32_bytes(admin: Client, listen: Listen) -> None:
    """The secret is `whsec_` + base64 of 32 random bytes."""
    one, other = await listen(admin, ["item-created"]), await listen(admin, ["item-created"])
    for secret in (one.secret, other.secret):
        assert secret.startswith("whsec_")
        assert len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) == 32
    assert one.secret != other.secret


async def test_an_event_has_the_same_id_for_every_webhook_and_retry_and_attempt_counts(
    admin: Client, listen: Listen
) -> None:
    """`id` is the same on every retry and replay; `attempt` is one more than the attempts
    recorded."""
    policy = {"maxRetries": 3, "retryDelay": 100}
    failing = await listen(admin, ["item-created"], answer=answering(500, 404, 200), retryPolicy=policy)
    other = await listen(admin, ["item-created"])
    item = await admin.item()
    await failing.hear("item-created", 3, itemId=item["id"])
    arrivals = failing.all("item-created", itemId=item["id"])
    event_id = (await other.hear("item-created", itemId=item["id"])).event_id
    assert [(arrival.event_id, arrival.envelope["attempt"]) for arrival in arrivals] == [
        (event_id, 1),
        (event_id, 2),
        (event_id, 3),
    ]
    for one, two in pairwise(arrivals):
        assert one.headers["X-Webhook-Signature"] == two.headers["X-Webhook-Signature"]
        assert one.envelope["timestamp"] == two.envelope["timestamp"]


async def test_a_manual_retry_goes_on_counting(admin: Client, listen: Listen) -> None:
    """`attempt`: a manual retry goes on counting."""
    ears = await listen(admin, ["item-created"], retryPolicy={"maxRetries": 0, "retryDelay": 100})
    item = await admin.item()
    first = await ears.hear("item-created", itemId=item["id"])
    await ears.ended(first.event_id, "success")
    await admin.post(f"/webhooks/{ears.id}/events/{first.event_id}/retry")
    second = await ears.hear("item-created", 2, itemId=item["id"])
    assert (second.event_id, second.envelope["attempt"]) == (first.event_id, 2)


@pytest.mark.parametrize("status", [200, 201, 204, 299])
async def test_any_2xx_is_a_delivery(admin: Client, listen: Listen, status: int) -> None:
    """Delivered means a 2xx within the timeout."""
    ears = await listen(admin, ["item-created"], answer=answering(status))
    item = await admin.item()
    arrival = await ears.hear("item-created", itemId=item["id"])
    event = await ears.ended(arrival.event_id, "success")
    assert event["httpResponse"]["statusCode"] == status
    assert event["error"] is None


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_not_followed_and_is_a_failure(admin: Client, listen: Listen, status: int) -> None:
    """A redirect is never followed and is a failure."""
    elsewhere = await listen(admin, ["location-created"])
    ears = await listen(
        admin,
        ["item-created"],
        answer=answering(status, Location=f"{elsewhere.receiver.url}/elsewhere"),
        retryPolicy={"maxRetries": 0},
    )
    item = await admin.item()
    arrival = await ears.hear("item-created", itemId=item["id"])
    event = await ears.ended(arrival.event_id, "failed")
    assert event["httpResponse"]["statusCode"] == status
    assert elsewhere.receiver.arrivals == []
    assert len(ears.receiver.arrivals) == 1


@pytest.mark.parametrize("status", [400, 401, 404, 500, 503])
async def test_any_other_status_is_a_failure(admin: Client, listen: Listen, status: int) -> None:
    """Delivered means a 2xx within the timeout."""
    ears = await listen(admin, ["item-created"], answer=answering(status), retryPolicy={"maxRetries": 0})
    item = await admin.item()
    arrival = await ears.hear("item-created", itemId=item["id"])
    event = await ears.ended(arrival.event_id, "failed")
    assert event["httpResponse"] == {"statusCode": status, "body": "so it answered"}
    assert event["deliveryAttempts"] == 1
    assert event["error"]


async def test_no_body_exceeds_64_kib(admin: Client, listen: Listen) -> None:
    """Body at most 64 KiB. A change whose event would be longer is refused, and can be made in two
    steps."""
    ears = await listen(admin, ["item-updated"])
    # Each character takes three bytes. In the attributes, each backslash becomes four within the
    # string that carries them.
    wide, deep = "\u2028" * 7999, "\\" * 4080
    item = await admin.item(description=wide + "1", attributes={"a": deep + "1"})
    at = f"/items/{item['id']}"
    together = {"description": wide + "2", "attributes": {"a": deep + "2"}}
    (await admin.ask("PUT", at, together)).problem(422)
    for field, value in together.items():
        await admin.put(at, {field: value})
    await ears.hear("item-updated", 2, itemId=item["id"])
    for arrival in ears.all("item-updated", itemId=item["id"]):
        assert 32 * 1024 < len(arrival.body) <= 64 * 1024


@pytest.mark.parametrize(
    ("field", "allowed"),
    [("name", 255), ("description", 8000)],
)
async def test_texts_have_their_limits(admin: Client, field: str, allowed: int) -> None:
    """Field limits: name 255, description 8,000"""
    assert len((await admin.item(**{field: "x" * allowed}))[field]) == allowed
    (await admin.ask("POST", "/items", {"name": "x", field: "x" * (allowed + 1)})).problem(400, f"/{field}")


async def test_attributes_have_their_limit(admin: Client) -> None:
    """Field limits: attributes 8 KiB"""
    fitting = {"a": "x" * (8192 - len('{"a":""}'))}
    assert (await admin.item(attributes=fitting))["attributes"] == fitting
    too_much = {"a": fitting["a"] + "x"}
    (await admin.ask("POST", "/items", {"name": "x", "attributes": too_much})).problem(400, "/attributes")


@pytest.mark.parametrize("text", [r"\u0000", r"\ud800", r"a\udc00b"])
@pytest.mark.parametrize("field", ["name", "sku", "description"])
async def test_what_javascript_would_write_otherwise_is_refused(admin: Client, field: str, text: str) -> None:
    """U+0000 and lone surrogates are refused with 400 at the API."""
    body = {"name": "x", field: "@"}
    (await admin.ask("POST", "/items", json.dumps(body).replace("@", text).encode())).problem(400)


@pytest.mark.parametrize("text", [r"\u0000", r"\ud800"])
async def test_what_javascript_would_write_otherwise_is_refused_in_attributes(admin: Client, text: str) -> None:
    """U+0000 and lone surrogates are refused with 400 at the API."""
    (await admin.ask("POST", "/items", f'{{"name": "x", "attributes": {{"a": "{text}"}}}}'.encode())).problem(400)
    (await admin.ask("POST", "/items", f'{{"name": "x", "attributes": {{"{text}": 1}}}}'.encode())).problem(400)
