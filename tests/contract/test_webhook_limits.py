"""Contract, section 3: the table of fields. Each default, the greatest and smallest values allowed,
and the values just outside: 400 with the field's pointer."""

from typing import Any

import pytest

from tests.support.contract.client import UNKNOWN_ID, Client
from tests.support.contract.ears import Listen

URL, EVENTS = "https://receiver.invalid/in", ["item-created"]
ALL_TYPES = [
    "item-created",
    "item-updated",
    "item-deleted",
    "low-stock-alert",
    "transfer-approval-needed",
    "transfer-approved",
    "transfer-rejected",
    "item-checkout",
    "item-checkin",
    "user-login",
    "user-logout",
    "transfer-dispatched",
    "transfer-completed",
    "transfer-cancelled",
    "checkout-rejected",
    "checkout-cancelled",
    "location-created",
    "location-updated",
    "location-deleted",
    "category-created",
    "category-updated",
    "category-deleted",
    "user-registered",
    "user-updated",
    "password-changed",
    "session-refreshed",
    "webhook-disabled",
    "webhook-recovered",
    "delivery-failed",
]
RESERVED = [
    "X-Webhook-Signature",
    "X-Webhook-ID",
    "X-Event-Type",
    "webhook-id",
    "webhook-timestamp",
    "webhook-signature",
    "Content-Type",
    "Host",
    "Content-Length",
    "Transfer-Encoding",
    "Connection",
]


async def test_the_defaults(owner: Client) -> None:
    """The column `default`"""
    webhook = await owner.webhook(URL, EVENTS)
    assert webhook["filters"] == {"locations": [], "categories": [], "minStockThreshold": None}
    assert webhook["headers"] == {}
    assert {"maxRetries": 3, "retryDelay": 5000}.items() <= webhook["retryPolicy"].items()
    assert webhook["timeout"] == 30000
    assert webhook["rateLimit"] is None
    assert webhook["active"] is True


ALLOWED: list[dict[str, Any]] = [
    {"events": ["user-logout"]},
    {"events": ALL_TYPES},
    {"filters": {"locations": [], "categories": []}},
    {"filters": {"minStockThreshold": 1}},
    {"headers": {}},
    {"headers": {f"X-{number}": "v" for number in range(50)}},
    {"headers": {"Authorization": "Bearer xyz"}},
    {"headers": {"X-Empty": ""}},
    {"retryPolicy": {"maxRetries": 0}},
    {"retryPolicy": {"maxRetries": 20}},
    {"retryPolicy": {"retryDelay": 100}},
    {"retryPolicy": {"retryDelay": 60000}},
    {"timeout": 5000},
    {"timeout": 60000},
    {"url": "http://receiver.invalid:8080/in?a=b"},
]


@pytest.mark.parametrize("fields", ALLOWED, ids=str)
async def test_the_edges_that_are_allowed(owner: Client, fields: dict[str, Any]) -> None:
    """The column `allowed`"""
    body = {"url": URL, "events": EVENTS} | fields
    made = await owner.post("/webhooks", body, status=201)
    other = await owner.webhook(URL, EVENTS)
    changed = await owner.put(f"/webhooks/{other['id']}", fields)
    for webhook in (made["webhook"], changed["webhook"]):
        for name, value in fields.items():
            if name == "headers":
                assert set(webhook[name]) == set(value)
            elif isinstance(value, dict):
                assert value.items() <= webhook[name].items()
            else:
                assert webhook[name] == value


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"events": []}, "/events"),
    ({"events": ["item-created", "item-created"]}, "/events"),
    ({"events": ["item-created", "item-exploded"]}, "/events/1"),
    ({"events": ["test"]}, "/events/0"),
    ({"events": "item-created"}, "/events"),
    ({"url": "receiver.invalid/in"}, "/url"),
    ({"url": "ftp://receiver.invalid/"}, "/url"),
    ({"url": ""}, "/url"),
    ({"url": 7}, "/url"),
    ({"filters": {"locations": [UNKNOWN_ID]}}, "/filters/locations/0"),
    ({"filters": {"locations": ["nonsense"]}}, "/filters/locations/0"),
    ({"filters": {"categories": [UNKNOWN_ID]}}, "/filters/categories/0"),
    ({"filters": {"minStockThreshold": 0}}, "/filters/minStockThreshold"),
    ({"filters": {"minStockThreshold": 1.5}}, "/filters/minStockThreshold"),
    ({"filters": {"minStockThreshold": "five"}}, "/filters/minStockThreshold"),
    ({"headers": {f"X-{number}": "v" for number in range(51)}}, "/headers"),
    ({"headers": {"Not a token": "v"}}, "/headers/Not a token"),
    ({"headers": {"X-A": "line\r\nbreak"}}, "/headers/X-A"),
    ({"headers": {"X-A": 7}}, "/headers/X-A"),
    *(({"headers": {name: "v"}}, f"/headers/{name}") for name in RESERVED),
    *(({"headers": {name.lower(): "v"}}, f"/headers/{name.lower()}") for name in RESERVED[:3]),
    ({"retryPolicy": {"maxRetries": -1}}, "/retryPolicy/maxRetries"),
    ({"retryPolicy": {"maxRetries": 21}}, "/retryPolicy/maxRetries"),
    ({"retryPolicy": {"maxRetries": "three"}}, "/retryPolicy/maxRetries"),
    ({"retryPolicy": {"retryDelay": 99}}, "/retryPolicy/retryDelay"),
    ({"retryPolicy": {"retryDelay": 60001}}, "/retryPolicy/retryDelay"),
    ({"timeout": 4999}, "/timeout"),
    ({"timeout": 60001}, "/timeout"),
    ({"timeout": 5000.5}, "/timeout"),
]


@pytest.mark.parametrize(("fields", "pointer"), REFUSED, ids=str)
async def test_what_is_just_outside_is_refused(admin: Client, fields: dict[str, Any], pointer: str) -> None:
    """The column `allowed`; 400 with one entry a bad field, JSON pointer"""
    (await admin.ask("POST", "/webhooks", {"url": URL, "events": EVENTS} | fields)).problem(400, pointer)
    webhook = await admin.webhook(URL, EVENTS)
    (await admin.ask("PUT", f"/webhooks/{webhook['id']}", fields)).problem(400, pointer)
    await admin.delete(f"/webhooks/{webhook['id']}")


async def test_url_and_events_have_no_default(admin: Client) -> None:
    """events | none"""
    (await admin.ask("POST", "/webhooks", {})).problem(400, "/url", "/events")
    (await admin.ask("POST", "/webhooks")).problem(400, "/url", "/events")


async def test_all_bad_fields_are_named_at_once(admin: Client) -> None:
    """`errors` (one entry a bad field, JSON pointer)"""
    body = {"url": "x", "events": [], "timeout": 1, "retryPolicy": {"maxRetries": 99}}
    (await admin.ask("POST", "/webhooks", body)).problem(400, "/url", "/events", "/timeout", "/retryPolicy/maxRetries")


# Filters


async def test_a_location_filter(admin: Client, listen: Listen) -> None:
    """filters.locations; a filter speaks only of events that carry what it filters on: it lets
    `user-login` through"""
    wanted, other = await admin.location(), await admin.location()
    ears = await listen(admin, ["item-created", "user-login"], filters={"locations": [wanted]})
    assert admin.user is not None
    outside = await admin.item(location_id=other)
    inside = await admin.item(location_id=wanted)
    again = await admin.sign_in(admin.user.username)
    await again.post("/auth/logout")
    await ears.hear("user-login", userId=admin.id)
    await ears.hear("item-created", itemId=inside["id"])
    assert ears.all("item-created", itemId=outside["id"]) == []


async def test_a_category_filter(admin: Client, listen: Listen) -> None:
    """filters.categories"""
    wanted, other = await admin.category(), await admin.category()
    ears = await listen(admin, ["item-created"], filters={"categories": [wanted]})
    outside = await admin.item(category_id=other)
    inside = await admin.item(category_id=wanted)
    await ears.hear("item-created", itemId=inside["id"])
    assert ears.all("item-created", itemId=outside["id"]) == []


async def test_a_threshold_lets_alerts_below_it_through_and_other_types(admin: Client, listen: Listen) -> None:
    """filters.minStockThreshold: a low-stock-alert passes while currentStock < it"""
    ears = await listen(admin, ["low-stock-alert", "item-created"], filters={"minStockThreshold": 3})
    for quantity in (5, 3, 2):
        await admin.item(name="Threshold", quantity=quantity, min_quantity=9)
    await ears.hear("low-stock-alert", name="Threshold", currentStock=2)
    await ears.until(lambda: len(ears.all("item-created", name="Threshold")) == 3)
    assert [arrival.envelope["data"]["currentStock"] for arrival in ears.all("low-stock-alert")] == [2]


async def test_all_filters_must_let_an_event_through(admin: Client, listen: Listen) -> None:
    """filters"""
    location, category = await admin.location(), await admin.category()
    filters = {"locations": [location], "categories": [category]}
    ears = await listen(admin, ["item-created"], filters=filters)
    half = await admin.item(location_id=location, category_id=await admin.category())
    other_half = await admin.item(location_id=await admin.location(), category_id=category)
    both = await admin.item(location_id=location, category_id=category)
    await ears.hear("item-created", itemId=both["id"])
    for item in (half, other_half):
        assert ears.all("item-created", itemId=item["id"]) == []
