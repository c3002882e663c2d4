"""Contract, section 4, and the API's conventions: idempotency, entity tags, request ids, traces,
pages by cursor."""

import re
from typing import Any

import pytest

from tests.support.contract.client import Client, unique
from tests.support.contract.ears import Listen
from tests.support.formats import UUID7


async def test_the_same_key_and_body_replays_the_answer(admin: Client) -> None:
    """`Idempotency-Key` on every POST but /auth; same key and body replays the answer"""
    body, key = {"name": unique("once")}, unique("key")
    first = await admin.ask("POST", "/locations", body, Idempotency_Key=key)
    again = await admin.ask("POST", "/locations", body, Idempotency_Key=key)
    assert (first.status, again.status) == (201, 201)
    assert again.body == first.body


async def test_the_replayed_answer_of_a_creation_has_its_secret(admin: Client) -> None:
    """stored sealed in the mutation's transaction"""
    body, key = {"url": "https://receiver.invalid/", "events": ["item-created"]}, unique("key")
    first = await admin.ask("POST", "/webhooks", body, Idempotency_Key=key)
    again = await admin.ask("POST", "/webhooks", body, Idempotency_Key=key)
    assert again.body == first.body
    await admin.delete(f"/webhooks/{first.body['webhook']['id']}")


async def test_the_same_key_with_another_body_is_422(admin: Client) -> None:
    """other body 422"""
    key = unique("key")
    await admin.call("POST", "/locations", {"name": unique("once")}, Idempotency_Key=key)
    (await admin.ask("POST", "/locations", {"name": unique("other")}, Idempotency_Key=key)).problem(422)


async def test_a_key_is_its_users_own(admin: Client, worker: Client) -> None:
    """`Idempotency-Key`"""
    body, key = {"url": "https://receiver.invalid/", "events": ["item-created"]}, unique("key")
    made = [await client.call("POST", "/webhooks", body, Idempotency_Key=key) for client in (admin, worker)]
    assert made[0]["webhook"]["id"] != made[1]["webhook"]["id"]
    for answer in made:
        await admin.delete(f"/webhooks/{answer['webhook']['id']}")


async def test_a_refused_request_may_be_mended_under_another_key(admin: Client) -> None:
    """`Idempotency-Key`"""
    (await admin.ask("POST", "/locations", {}, Idempotency_Key=unique("key"))).problem(400)
    await admin.call("POST", "/locations", {"name": unique("mended")}, Idempotency_Key=unique("key"))


@pytest.mark.parametrize("kind", ["items", "locations", "categories", "webhooks"])
async def test_a_single_resource_has_a_strong_etag_and_honours_if_match(admin: Client, kind: str) -> None:
    """strong `ETag` on single resources, `If-Match` honoured (412)"""
    body: dict[str, Any] = {"name": unique("tagged")}
    change: dict[str, Any] = {"name": unique("changed")}
    if kind == "webhooks":
        body, change = {"url": "https://receiver.invalid/", "events": ["item-created"]}, {"timeout": 6000}
    made = await admin.post(f"/{kind}", body)
    path = f"/{kind}/{made.get('webhook', made)['id']}"
    tag = (await admin.ask("GET", path)).headers["ETag"]
    assert re.fullmatch(r'"[^"]+"', tag)
    assert (await admin.ask("GET", path)).headers["ETag"] == tag
    assert (await admin.ask("PUT", path, change, If_Match=tag)).status == 200
    assert (await admin.ask("GET", path)).headers["ETag"] != tag
    (await admin.ask("PUT", path, change, If_Match=tag)).problem(412)
    assert (await admin.ask("PUT", path, change, If_Match="*")).status == 200
    (await admin.ask("DELETE", path, If_Match=tag)).problem(412)
    await admin.delete(path)


async def test_a_request_id_is_accepted_or_made(admin: Client) -> None:
    """`X-Request-ID` accepted or made"""
    assert (await admin.ask("GET", "/items", X_Request_ID="mine-7")).headers["X-Request-ID"] == "mine-7"
    made = (await admin.ask("GET", "/items")).headers["X-Request-ID"]
    assert UUID7.fullmatch(made)
    assert (await admin.ask("GET", "/items", X_Request_ID="not one of ours")).headers[
        "X-Request-ID"
    ] != "not one of ours"


async def test_a_trace_is_carried_through_to_the_receiver(admin: Client, listen: Listen) -> None:
    """W3C `traceparent` carried through the outbox to the receiver"""
    ears = await listen(admin, ["item-created"])
    trace, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    body = {"name": unique("traced")}
    item = await admin.call("POST", "/items", body, traceparent=f"00-{trace}-{parent}-01")
    arrival = await ears.hear("item-created", itemId=item["id"])
    version, found, span, _ = arrival.headers["traceparent"].split("-")
    assert (version, found) == ("00", trace)
    assert span != parent


async def test_pages_by_cursor_are_stable_under_inserts(admin: Client) -> None:
    """pages stable under inserts by an opaque cursor beside skip/limit"""
    location = await admin.location()
    before = [(await admin.item(location_id=location))["id"] for _ in range(5)]
    seen: list[str] = []
    path = f"/items?location_id={location}&limit=2&cursor="
    while path:
        page = await admin.ask("GET", path)
        assert page.status == 200, page.body
        seen += [item["id"] for item in page.body]
        await admin.item(location_id=location)
        following = re.search(r'<([^>]+)>; rel="next"', page.headers["Link"])
        path = following[1].partition("/api/v1")[2] if following else ""
        assert len(seen) < 50
    assert [item for item in seen if item in set(before)] == sorted(
        before, reverse=seen.index(before[0]) > seen.index(before[1])
    )
    assert len(set(seen)) == len(seen)
    assert set(before) <= set(seen)
