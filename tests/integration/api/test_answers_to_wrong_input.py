"""The length of an answer does not grow with the errors in a request, and is bounded however much
is stored."""

import re
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.api.call import Csv, Nothing
from service.api.problems import MAX_ERRORS
from service.api.routes import MAX_BODY_BYTES
from service.records import AT_ONCE
from service.server.app import ROUTES
from tests.support.api.caller import Caller
from tests.support.api.webhooks import make_webhook
from tests.support.database import Connection

MAX_ANSWER_BYTES = 16 * 1024
ANY_ID = "0198c7a0-7c5f-7e55-8d4b-000000000000"
BODIES = [route for route in ROUTES if route.body not in (Nothing, Csv)]
FIELDS = {
    f"{route.method} {route.path}": sorted(set(route.body.model_fields) | {"userId", "items", "webhook"})
    for route in BODIES
}


def _filling(kind: str, size: int) -> Any:
    """A value of about this many bytes, large in one of several ways."""
    match kind:
        case "a text":
            return "x" * size
        case "a list of texts":
            return ["x"] * (size // 4)
        case "a list of long texts":
            return ["x" * 1000] * (size // 1003)
        case "a list of numbers":
            return [0] * (size // 2)
        case "a list of lists":
            return [[]] * (size // 3)
        case "a list of objects":
            return [{}] * (size // 3)
        case "many keys":
            return {f"{n}": n for n in range(size // 14)}
        case "one long key":
            return {"k" * size: 1}
        case "nested lists":
            return orjson.loads(b"[" * 200 + b"]" * 200)
        case "quotes":
            return '"' * (size // 2)
        case "of many bytes":
            return "é\u2028" * (size // 6)
    raise AssertionError(kind)


KINDS = [
    "a text", "a list of texts", "a list of long texts", "a list of numbers", "a list of lists", "a list of objects",
    "many keys", "one long key", "nested lists", "quotes", "of many bytes",
]  # fmt: skip


@settings(
    max_examples=120,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(data=st.data())
async def test_the_answer_to_a_wrong_body_is_short_whatever_the_body(admin: Caller, data: st.DataObject) -> None:
    where = data.draw(st.sampled_from(sorted(FIELDS)))
    names = data.draw(st.lists(st.sampled_from(FIELDS[where]), min_size=1, max_size=4, unique=True))
    size = data.draw(st.sampled_from([1000, 60_000, MAX_BODY_BYTES - 500])) // len(names)
    body = {name: _filling(data.draw(st.sampled_from(KINDS)), size) for name in names}
    if data.draw(st.booleans()):
        inner = data.draw(st.sampled_from(["filters", "retryPolicy", "headers", "attributes"]))
        body = {inner: {**body, "locations": body[names[0]], "categories": body[names[0]]}}
    method, _, path = where.partition(" ")
    answer = await admin.ask(method, re.sub(r"\{\w+\}", ANY_ID, path), body)
    raw = orjson.dumps(answer.body)
    assert answer.status != 500, raw[:500]
    if answer.status >= 400:
        assert len(raw) <= MAX_ANSWER_BYTES
        assert len(answer.body.get("errors", [])) <= MAX_ERRORS


@pytest.mark.parametrize(
    "body",
    [
        {"events": ["x"] * 60_000},
        {"events": ["item-created"] * 16_000},
        {"url": "http://127.0.0.1/", "events": ["item-created"], "filters": {"locations": [ANY_ID] * 6_000}},
        {"url": "http://127.0.0.1/", "events": ["item-created"], "headers": {f"x-{n}\n": "v" for n in range(15_000)}},
        {"url": "http://127.0.0.1/", "events": ["item-created"], "headers": {"é" * 120_000: "v"}},
    ],
    ids=["unknown types", "one type", "ids", "headers", "a header"],
)
async def test_a_webhook_with_far_too_much_is_refused_in_few_words(body: Any, admin: Caller) -> None:
    answer = await admin.post("/webhooks", body)
    assert answer.status == 400
    assert len(orjson.dumps(answer.body)) <= 4096


async def test_at_most_twenty_errors_are_listed_and_the_others_are_counted(admin: Caller) -> None:
    answer = await admin.post(
        "/webhooks", {"url": "http://127.0.0.1/", "events": ["item-created"], "filters": {"locations": ["no id"] * 100}}
    )
    assert answer.pointers == [f"/filters/locations/{n}" for n in range(MAX_ERRORS)]
    assert answer.body["moreErrors"] == 80
    assert answer.body["detail"].endswith("(and 99 more)")


async def test_ids_that_do_not_exist_are_listed_no_further_either(admin: Caller) -> None:
    ids = [f"0198c7a0-7c5f-7e55-8d4b-{n:012}" for n in range(1000)]
    answer = await admin.post(
        "/webhooks", {"url": "http://127.0.0.1/", "events": ["item-created"], "filters": {"locations": ids}}
    )
    assert (answer.status, len(answer.pointers), answer.body["moreErrors"]) == (400, MAX_ERRORS, 980)


@pytest.mark.parametrize("path", ["/items/" + "x" * 7000, "/" + "y" * 7000, "/items?search=" + "z" * 7000])
async def test_a_long_address_is_not_repeated(path: str, admin: Caller) -> None:
    answer = await admin.get(path)
    assert answer.status in {400, 404}
    assert len(orjson.dumps(answer.body)) < 2000


async def test_a_long_name_of_a_parameter_is_not_repeated(admin: Caller) -> None:
    answer = await admin.get("/items?" + "n" * 6000 + "=%00")
    assert answer.status == 400
    assert len(orjson.dumps(answer.body)) < 2000


async def test_no_error_lists_the_catalogue(admin: Caller) -> None:
    answer = await admin.post("/webhooks", {"url": "http://127.0.0.1/", "events": ["no-such-type"]})
    assert answer.pointers == ["/events/0"]
    assert "item-created" not in str(answer.body)


# Answers that would grow with the stored rows


async def test_a_delivery_with_very_many_attempts_shows_the_latest(admin: Caller, connection: Connection) -> None:
    webhook_id = (await make_webhook(admin))["id"]
    event_id = await connection.fetchval(
        """insert into events (position, id, seq, type, data, occurred_at, audience, location_ids, user_ids, deliveries)
           values (1, uuidv7(), 1, 'item-created', '{}', now(), 'inventory', '{}', '{}', 1) returning id"""
    )
    await connection.execute(
        """insert into attempts (webhook_id, position, event_id, event_type, event_at, attempt, outcome, retried_at, recorded_at)
           select $1, 1, $2, 'item-created', recorded_at, n, 'failed', case when n < 120 then now() end,
                  recorded_at + n * interval '1 millisecond'
             from events, generate_series(1, 120) as n""",
        webhook_id,
        event_id,
    )
    event = (await admin.get(f"/webhooks/{webhook_id}/events/{event_id}")).body["event"]
    assert [attempt["attempt"] for attempt in event["attempts"]] == list(range(21, 121))
    assert event["earlierAttempts"] is True
    await connection.execute("delete from attempts where attempt <= 20")
    event = (await admin.get(f"/webhooks/{webhook_id}/events/{event_id}")).body["event"]
    assert len(event["attempts"]) == 100
    assert "earlierAttempts" not in event


async def test_a_logout_from_very_many_sessions_writes_an_event_of_each_in_one_transaction(
    admin: Caller, connection: Connection
) -> None:
    sessions = 2 * AT_ONCE + 10
    await connection.execute(
        "insert into sessions (user_id, expires_at) select $1, now() + interval '1 day' from generate_series(2, $2::int)",
        admin.token.user_id,
        sessions,
    )
    assert (await admin.post("/auth/logout-all", None)).body == {"message": f"signed out of {sessions} sessions"}
    rows = await connection.fetch("select type, xmin::text as transaction from outbox")
    assert [row["type"] for row in rows] == ["user-logout"] * sessions
    assert len({row["transaction"] for row in rows}) == 1
