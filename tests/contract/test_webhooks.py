"""Contract, section 3: the webhook routes, sentence by sentence."""

import json
from typing import Any

import pytest

from tests.support.contract.client import UNKNOWN_ID, Client, Newcomer
from tests.support.contract.ears import ONCE, Ears, Listen, answering, failed_event
from tests.support.formats import TIME, UUID7

URL, EVENTS = "https://receiver.invalid/in", ["item-created"]
CREATE = {"url": URL, "events": EVENTS}


async def test_creation_answers_201_with_webhook_and_message(owner: Client) -> None:
    """`POST /webhooks` → 201 `{webhook: {id, url, events, active, secret, createdAt, …},
    message}`"""
    answer = await owner.ask("POST", "/webhooks", CREATE)
    assert answer.status == 201
    assert set(answer.body) == {"webhook", "message"}
    webhook = answer.body["webhook"]
    assert {"id", "url", "events", "active", "secret", "createdAt"} <= set(webhook)
    assert UUID7.fullmatch(webhook["id"])
    assert (webhook["url"], webhook["events"], webhook["active"]) == (URL, EVENTS, True)
    assert TIME.fullmatch(webhook["createdAt"])
    assert isinstance(answer.body["message"], str)


async def test_creation_resolves_no_name(owner: Client) -> None:
    """Creation resolves no name."""
    await owner.webhook("https://there.is.no.such.name.invalid/", ["item-created"])


async def test_the_secret_is_shown_at_creation_and_nowhere_else(owner: Client) -> None:
    """The secret is shown here …, nowhere else (elsewhere no key or value contains it)."""
    webhook = await owner.webhook(URL, ["item-created"])
    at = f"/webhooks/{webhook['id']}"
    answers = [
        await owner.get("/webhooks"),
        await owner.get(at),
        await owner.put(at, {"events": ["item-updated"]}),
        await owner.get(f"{at}/events"),
        await owner.get(f"{at}/stats"),
    ]
    for answer in answers:
        assert webhook["secret"] not in json.dumps(answer)
        assert "secret" not in _keys(answer)


def _keys(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set(value).union(*map(_keys, value.values()))
    return set().union(*map(_keys, value)) if isinstance(value, list) else set()


async def test_the_list_has_the_contracts_fields_and_filters_by_active(owner: Client) -> None:
    """`GET /webhooks[?active=true|false]` → `{webhooks: [{id, url, events, active, filters,
    statistics, createdAt, …}]}`"""
    on = await owner.webhook(URL, ["item-created"])
    off = await owner.webhook(URL, ["item-created"])
    await owner.put(f"/webhooks/{off['id']}", {"active": False})

    async def listed(query: str = "") -> set[str]:
        return {webhook["id"] for webhook in (await owner.get(f"/webhooks{query}"))["webhooks"]}

    assert await listed() == {on["id"], off["id"]}
    assert await listed("?active=true") == {on["id"]}
    assert await listed("?active=false") == {off["id"]}
    first = (await owner.get("/webhooks"))["webhooks"][0]
    named = {"id", "url", "events", "active", "filters", "statistics", "createdAt", "updatedAt"}
    assert named <= set(first)


async def test_one_webhook_has_headers_policy_timeout_and_statistics_too(owner: Client) -> None:
    """`GET /webhooks/:id` → `{webhook}` with headers (values masked), retryPolicy, timeout and
    statistics too."""
    made = await owner.webhook(URL, ["item-created"], headers={"Authorization": "Bearer xyz"})
    answer = await owner.get(f"/webhooks/{made['id']}")
    assert set(answer) == {"webhook"}
    webhook = answer["webhook"]
    assert set(webhook["headers"]) == {"Authorization"}
    assert "xyz" not in json.dumps(webhook)
    assert {"retryPolicy", "timeout", "statistics", "filters"} <= set(webhook)


async def test_a_put_with_the_mask_keeps_the_value(admin: Client, listen: Listen) -> None:
    """`GET /webhooks/:id`: values masked; a PUT with the mask keeps the value."""
    ears = await listen(admin, ["item-created"], headers={"X-Key": "kept", "X-Other": "old"})
    shown = (await admin.get(f"/webhooks/{ears.id}"))["webhook"]
    await admin.put(f"/webhooks/{ears.id}", {"headers": shown["headers"] | {"X-Other": "new"}})
    item = await admin.item()
    arrival = await ears.hear("item-created", itemId=item["id"])
    assert (arrival.headers["X-Key"], arrival.headers["X-Other"]) == ("kept", "new")


@pytest.mark.parametrize(
    "change",
    [
        {"url": "https://receiver.invalid/other"},
        {"events": ["item-deleted", "user-login"]},
        {"filters": {"minStockThreshold": 4}},
        {"headers": {"X-A": "b"}},
        {"retryPolicy": {"maxRetries": 7, "retryDelay": 250}},
        {"timeout": 6000},
        {"active": False},
        {"url": "https://receiver.invalid/two", "timeout": 7000, "active": True},
        {},
    ],
    ids=lambda change: "+".join(change) or "nothing",
)
async def test_put_takes_any_subset(owner: Client, change: dict[str, Any]) -> None:
    """`PUT /webhooks/:id`, any subset of url, events, filters, headers, retryPolicy, timeout,
    active → `{webhook, message}`"""
    made = await owner.webhook(URL, ["item-created"])
    before = (await owner.get(f"/webhooks/{made['id']}"))["webhook"]
    answer = await owner.put(f"/webhooks/{made['id']}", change)
    assert set(answer) == {"webhook", "message"}
    after = (await owner.get(f"/webhooks/{made['id']}"))["webhook"]
    for name, value in after.items():
        if name in {"updatedAt", "headers"}:
            continue
        if name in change and isinstance(change[name], dict):
            assert change[name].items() <= value.items()
        else:
            assert value == change.get(name, before[name]), name
    assert set(after["headers"]) == set(change.get("headers", {}))


async def test_a_secret_in_a_put_is_refused(owner: Client) -> None:
    """a `secret` in it is refused with 400"""
    made = await owner.webhook(URL, ["item-created"])
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    (await owner.ask("PUT", f"/webhooks/{made['id']}", {"secret": secret})).problem(400, "/secret")


async def _parked(admin: Client, listen: Listen) -> tuple[Ears, str]:
    """An inactive webhook with one pending event."""
    policy = {"maxRetries": 5, "retryDelay": 60000}
    ears = await listen(admin, ["item-created"], answer=answering(500, 200), retryPolicy=policy)
    item = await admin.item()
    arrival = await ears.hear("item-created", itemId=item["id"])
    await ears.ended(arrival.event_id, "pending")
    await admin.put(f"/webhooks/{ears.id}", {"active": False})
    return ears, arrival.event_id


async def test_inactive_parks_what_is_pending_and_active_resumes_it(admin: Client, listen: Listen) -> None:
    """`active: false` parks what is pending; `active: true` resumes it"""
    ears = await listen(admin, ["item-created"], answer=answering(500, 200), retryPolicy=ONCE)
    first = await failed_event(admin, ears)
    await admin.put(f"/webhooks/{ears.id}", {"active": False})
    await admin.post(f"/webhooks/{ears.id}/events/{first['id']}/retry")
    # Another webhook gets an event meanwhile. So the relay was not merely slow.
    other = await listen(admin, ["item-created"])
    item = await admin.item()
    await other.hear("item-created", itemId=item["id"])
    assert len(ears.receiver.arrivals) == 1
    await ears.ended(first["id"], "pending")
    await admin.put(f"/webhooks/{ears.id}", {"active": True})
    await ears.ended(first["id"], "success")
    assert ears.all("item-created", itemId=item["id"]) == []


async def test_active_with_discard_drops_what_was_pending(admin: Client, listen: Listen) -> None:
    """…, or drops it with `"pending": "discard"`"""
    ears, event_id = await _parked(admin, listen)
    await admin.put(f"/webhooks/{ears.id}", {"active": True, "pending": "discard"})
    assert (await ears.ended(event_id, "failed"))["error"]
    item = await admin.item()
    await ears.hear("item-created", itemId=item["id"])
    assert len(ears.receiver.arrivals) == 2


async def test_deletion_answers_204_and_the_webhook_is_gone(admin: Client, listen: Listen) -> None:
    """`DELETE /webhooks/:id` → 204 at once; what was pending is cancelled"""
    ears, _ = await _parked(admin, listen)
    await admin.delete(f"/webhooks/{ears.id}")
    (await admin.ask("GET", f"/webhooks/{ears.id}")).problem(404)
    (await admin.ask("GET", f"/webhooks/{ears.id}/events")).problem(404)
    (await admin.ask("DELETE", f"/webhooks/{ears.id}")).problem(404)
    assert len(ears.receiver.arrivals) == 1


_ROUTES = [
    ("GET", ""),
    ("PUT", ""),
    ("DELETE", ""),
    ("GET", "/events"),
    ("GET", "/stats"),
    ("POST", "/test"),
    ("POST", f"/events/{UNKNOWN_ID}/retry"),
]


@pytest.mark.parametrize(("method", "path"), _ROUTES)
async def test_anothers_webhook_is_403_and_an_unknown_one_404(newcomer: Newcomer, method: str, path: str) -> None:
    """A user manages their own webhooks (another's: 403, unknown: 404); an admin manages all."""
    owner, other = await newcomer(), await newcomer()
    webhook = await owner.webhook(URL, ["item-created"])
    body: dict[str, str] | None = {} if method == "PUT" else None
    (await other.ask(method, f"/webhooks/{webhook['id']}{path}", body)).problem(403)
    (await other.ask(method, f"/webhooks/{UNKNOWN_ID}{path}", body)).problem(404)
    (await other.ask(method, f"/webhooks/nonsense{path}", body)).problem(404)


async def test_an_admin_lists_all_webhooks_and_others_their_own(admin: Client, newcomer: Newcomer) -> None:
    """an admin manages all"""
    owner, other = await newcomer(), await newcomer()
    webhook = await owner.webhook(URL, ["item-created"])

    async def listed(client: Client) -> set[str]:
        return {found["id"] for found in (await client.get("/webhooks"))["webhooks"]}

    assert await listed(owner) == {webhook["id"]}
    assert await listed(other) == set()
    assert webhook["id"] in await listed(admin)
