"""A single delivery with each of its attempts."""

from typing import Any

import pytest
from aiohttp import web

from service.platform.ids import new_id
from tests.support.api.caller import Caller
from tests.support.api.webhooks import events_of, make_webhook
from tests.support.database import Connection
from tests.support.formats import TIME
from tests.support.receivers.receiver import Arrival, Receiver
from tests.support.relay.log import RelayLog
from tests.support.relay.processes import Relays

NAME = 'Hydraulic “Pump” ½ 漢字 \u2028 "quoted" \\ </script>'


async def _shown(caller: Caller, webhook_id: str, event_id: object) -> Any:
    answer = await caller.get(f"/webhooks/{webhook_id}/events/{event_id}")
    assert answer.status == 200, answer.body
    assert set(answer.body) == {"event"}
    return answer.body["event"]


async def test_each_attempt_is_shown_as_it_was_sent_and_answered_a_manual_retry_included(
    admin: Caller, relays: Relays, receiver: Receiver
) -> None:
    async def answer(arrival: Arrival) -> web.StreamResponse:
        if arrival.envelope["attempt"] == 2:
            return web.Response(text="ok")
        return web.Response(status=500, text="½ not now", headers=[("X-Two", "a"), ("X-Two", "b")])

    receiver.answer = answer
    webhook = await make_webhook(
        admin,
        url=f"{receiver.url}/hook?x=1",
        headers={"X-Key": "hunter2"},
        retryPolicy={"maxRetries": 1, "retryDelay": 100},
    )
    await relays.start()
    await admin.make("/items", name=NAME, sku="P-1")
    await receiver.wait_for(lambda: len(receiver.arrivals) == 2)
    await relays.idle()
    event_id = receiver.arrivals[0].event_id
    assert (await admin.post(f"/webhooks/{webhook['id']}/events/{event_id}/retry", None)).status == 200
    await receiver.wait_for(lambda: len(receiver.arrivals) == 4)
    await relays.idle()

    shown = await _shown(admin, webhook["id"], event_id)

    (listed,) = (await events_of(admin, webhook["id"]))["events"]
    attempts = shown.pop("attempts")
    assert shown == listed
    assert (shown["deliveryStatus"], shown["deliveryAttempts"]) == ("failed", 4)
    assert [(entry["attempt"], entry["outcome"]) for entry in attempts] == [
        (1, "retry"),
        (2, "success"),
        (3, "retry"),
        (4, "failed"),
    ]
    for entry, arrival in zip(attempts, receiver.arrivals, strict=True):
        assert list(entry) == [
            "attempt",
            "outcome",
            "startedAt",
            "recordedAt",
            "request",
            "response",
            "error",
            "timings",
            "nextRetry",
        ]
        assert entry["request"]["url"] == f"{receiver.url}/hook?x=1"
        assert entry["request"]["body"].encode() == arrival.body
        headers = entry["request"]["headers"]
        assert headers["X-Key"] == headers["X-Webhook-Signature"] == headers["webhook-signature"] == "[set]"
        for name in ("Content-Type", "X-Webhook-ID", "X-Event-Type", "webhook-id", "webhook-timestamp"):
            assert headers[name] == arrival.headers[name]
        assert TIME.fullmatch(entry["startedAt"])
        assert TIME.fullmatch(entry["recordedAt"])
        assert list(entry["timings"]) == ["dns", "connect", "tls", "firstByte", "total"]
        assert 0 < entry["timings"]["firstByte"] <= entry["timings"]["total"]
        assert entry["timings"]["tls"] is None
        assert (entry["nextRetry"] is not None) == (entry["outcome"] == "retry")
    first, second = attempts[0], attempts[1]
    assert (first["response"]["statusCode"], first["response"]["body"]) == (500, "½ not now")
    assert [pair for pair in first["response"]["headers"] if pair[0] == "X-Two"] == [["X-Two", "a"], ["X-Two", "b"]]
    assert (first["error"], second["error"]) == ("the receiver answered 500", None)
    assert (second["response"]["statusCode"], second["response"]["body"]) == (200, "ok")
    assert "hunter2" not in str(attempts)


async def test_a_pending_event_shows_what_was_tried_and_what_was_superseded(
    admin: Caller, log: RelayLog, connection: Connection
) -> None:
    webhook_id = (await make_webhook(admin))["id"]
    event = await log.event(webhook_id)
    assert (await _shown(admin, webhook_id, event.id))["attempts"] == []

    await log.attempt(webhook_id, event, "retry", error="connection refused")
    await connection.execute(
        """insert into attempts (webhook_id, position, event_id, event_type, event_at, attempt, outcome, url, request_headers,
                                 started_at, status, response_headers, response_body)
           values ($1, $2, $3, 'item-created', $4, 1, 'superseded', 'http://x/', '{"webhook-id": "1"}',
                   clock_timestamp(), 200, $5, $6)""",
        webhook_id,
        event.position,
        event.id,
        event.recorded_at,
        b"X-Name: caf\xe9\r\nX-Time: 1: 2\r\nX-Cut",
        b"\x00\xff",
    )

    shown = await _shown(admin, webhook_id, event.id)

    refused, late = shown.pop("attempts")
    (listed,) = (await events_of(admin, webhook_id))["events"]
    assert shown == listed
    assert (shown["deliveryStatus"], shown["error"]) == ("pending", "connection refused")
    assert (refused["outcome"], refused["response"], refused["error"]) == ("retry", None, "connection refused")
    assert TIME.fullmatch(refused["nextRetry"])
    assert (late["attempt"], late["outcome"]) == (1, "superseded")
    assert late["response"] == {
        "statusCode": 200,
        "headers": [["X-Name", "café"], ["X-Time", "1: 2"], ["X-Cut", ""]],
        "body": "\x00\ufffd",
    }


@pytest.mark.parametrize("outcome", ["cancelled", "expired"])
async def test_an_end_without_a_request_has_none(outcome: str, admin: Caller, log: RelayLog) -> None:
    webhook_id = (await make_webhook(admin))["id"]
    event = await log.ended(webhook_id, outcome)
    shown = await _shown(admin, webhook_id, event.id)
    (end,) = shown.pop("attempts")
    assert shown == (await events_of(admin, webhook_id))["events"][0]
    assert TIME.fullmatch(end.pop("recordedAt"))
    assert end == {
        "attempt": 0,
        "outcome": outcome,
        "startedAt": None,
        "request": None,
        "response": None,
        "error": f"it was {outcome}",
        "timings": None,
        "nextRetry": None,
    }


async def test_an_event_that_the_webhook_never_had_is_not_found(
    admin: Caller, log: RelayLog, connection: Connection
) -> None:
    webhook_id, other = (await make_webhook(admin))["id"], (await make_webhook(admin))["id"]
    elsewhere, dropped = await log.succeeded(other), await log.succeeded(webhook_id)
    await connection.execute("delete from events where position = $1", dropped.position)
    for unknown in (elsewhere.id, dropped.id, new_id(), "not-an-id"):
        assert (await admin.get(f"/webhooks/{webhook_id}/events/{unknown}")).status == 404
