"""The list of a webhook's events."""

import json

import orjson
import pytest

from relay.lead.fanout import FanOut
from service.api.paging import MAX_POSITION
from service.platform.clock import iso
from service.platform.db import Pool
from service.platform.ids import new_id
from service.platform.queries import load
from tests.support.api.caller import Api, Caller, SignUp
from tests.support.api.webhooks import events_of, make_webhook
from tests.support.database import Connection
from tests.support.formats import TIME
from tests.support.query_plans import nodes
from tests.support.relay.log import RelayLog
from tests.support.rows import write_event

ODD = '{"name":"Hydraulic “Pump” ½ 漢字 \\"quoted\\" \\\\ </script>","z":1,"a":{"b":[null,true]}}'


async def test_a_webhook_without_events_has_an_empty_list(owner: Caller, webhook_id: str) -> None:
    assert await events_of(owner, webhook_id) == {"events": [], "total": 0, "skip": 0, "limit": 50}


async def test_a_delivered_event_shows_what_the_receiver_answered(
    owner: Caller, webhook_id: str, log: RelayLog
) -> None:
    event = await log.event(webhook_id, data=ODD)
    await log.attempt(webhook_id, event, "retry", status=500, body=b"no", error="the receiver answered 500")
    await log.attempt(webhook_id, event, "success", status=201, body=b'{"received":true}')

    (shown,) = (await events_of(owner, webhook_id))["events"]

    assert list(shown) == [
        "id",
        "eventType",
        "data",
        "deliveryStatus",
        "deliveryAttempts",
        "lastAttempt",
        "nextRetry",
        "httpResponse",
        "error",
        "createdAt",
    ]
    assert TIME.fullmatch(shown.pop("lastAttempt"))
    assert TIME.fullmatch(shown.pop("createdAt"))
    assert shown == {
        "id": str(event.id),
        "eventType": "item-created",
        "data": orjson.loads(ODD),
        "deliveryStatus": "success",
        "deliveryAttempts": 2,
        "nextRetry": None,
        "httpResponse": {"statusCode": 201, "body": '{"received":true}'},
        "error": None,
    }


async def test_the_data_comes_as_it_was_signed(owner: Caller, webhook_id: str, log: RelayLog) -> None:
    await log.event(webhook_id, data=ODD)
    path = f"/api/v1/webhooks/{webhook_id}/events"
    async with owner.api.get(path, headers=owner.token.headers) as response:
        assert f'"data":{ODD},' in await response.text()


async def test_an_event_not_yet_attempted_is_pending_and_due(owner: Caller, webhook_id: str, log: RelayLog) -> None:
    event = await log.event(webhook_id)
    (shown,) = (await events_of(owner, webhook_id))["events"]
    assert (shown["id"], shown["deliveryStatus"], shown["deliveryAttempts"]) == (str(event.id), "pending", 0)
    assert (shown["lastAttempt"], shown["httpResponse"], shown["error"]) == (None, None, None)
    assert TIME.fullmatch(shown["nextRetry"])


async def test_a_pending_event_shows_its_last_attempt_and_the_next_retry(
    owner: Caller, webhook_id: str, log: RelayLog, connection: Connection
) -> None:
    event = await log.event(webhook_id)
    await log.attempt(webhook_id, event, "retry", status=503, body=b"busy", error="the receiver answered 503")
    await log.attempt(webhook_id, event, "retry", error="connection refused")

    (shown,) = (await events_of(owner, webhook_id))["events"]

    started = await connection.fetchval("select started_at from attempts where attempt = 2")
    next_retry = await connection.fetchval("select next_attempt_at from deliveries")
    assert (shown["deliveryStatus"], shown["deliveryAttempts"]) == ("pending", 2)
    assert (shown["lastAttempt"], shown["nextRetry"]) == (iso(started), iso(next_retry))
    assert (shown["httpResponse"], shown["error"]) == (None, "connection refused")


async def test_a_response_that_is_no_text_is_shown_with_replacements(
    owner: Caller, webhook_id: str, log: RelayLog
) -> None:
    event = await log.event(webhook_id)
    await log.attempt(
        webhook_id, event, "failed", status=500, body=b"\x00\xff<b>\xc3", error="the receiver answered 500"
    )
    (shown,) = (await events_of(owner, webhook_id))["events"]
    assert shown["httpResponse"] == {"statusCode": 500, "body": "\x00\ufffd<b>\ufffd"}


@pytest.mark.parametrize("outcome", ["cancelled", "expired"])
async def test_an_end_without_a_request_is_a_failure_with_its_reason_and_the_request_before(
    outcome: str, owner: Caller, webhook_id: str, log: RelayLog, connection: Connection
) -> None:
    event = await log.event(webhook_id)
    await log.attempt(webhook_id, event, "retry", status=500, body=b"no", error="the receiver answered 500")
    await log.attempt(webhook_id, event, outcome, error="no longer wanted")
    (shown,) = (await events_of(owner, webhook_id, status="failed"))["events"]
    started = await connection.fetchval("select started_at from attempts where attempt = 1 and outcome = 'retry'")
    assert (shown["deliveryStatus"], shown["deliveryAttempts"], shown["error"]) == ("failed", 1, "no longer wanted")
    assert shown["httpResponse"] == {"statusCode": 500, "body": "no"}
    assert shown["lastAttempt"] == iso(started)


async def test_a_result_that_came_too_late_is_not_shown(
    owner: Caller, webhook_id: str, log: RelayLog, connection: Connection
) -> None:
    event = await log.event(webhook_id)
    await log.attempt(webhook_id, event, "retry", status=500, error="the receiver answered 500")
    await connection.execute(
        """insert into attempts (webhook_id, position, event_id, event_type, event_at, attempt, outcome, started_at, status)
           values ($1, $2, $3, 'item-created', $4, 1, 'superseded', clock_timestamp(), 200)""",
        webhook_id,
        event.position,
        event.id,
        event.recorded_at,
    )
    (shown,) = (await events_of(owner, webhook_id))["events"]
    assert shown["httpResponse"] == {"statusCode": 500, "body": ""}


async def test_each_status_has_its_events_and_its_total_newest_first(
    owner: Caller, webhook_id: str, log: RelayLog
) -> None:
    made: list[tuple[str, str]] = []
    for _ in range(3):
        made.append(("success", str((await log.succeeded(webhook_id)).id)))
        made.append(("pending", str((await log.event(webhook_id)).id)))
        made.append(("failed", str((await log.failed(webhook_id)).id)))
        made.append(("failed", str((await log.ended(webhook_id, "cancelled")).id)))
        made.append(("failed", str((await log.ended(webhook_id, "expired")).id)))
        await log.event()
    made.reverse()

    for status in (None, "pending", "success", "failed"):
        expected = [entry for entry in made if status in {None, entry[0]}]
        page = await events_of(owner, webhook_id, **({"status": status} if status else {}))
        assert [(shown["deliveryStatus"], shown["id"]) for shown in page["events"]] == expected
        assert page["total"] == len(expected)
        pages = []
        for skip in range(0, len(expected) + 2, 2):
            page = await events_of(
                owner, webhook_id, skip=str(skip), limit="2", **({"status": status} if status else {})
            )
            assert (page["skip"], page["limit"], page["total"]) == (skip, 2, len(expected))
            pages += [(shown["deliveryStatus"], shown["id"]) for shown in page["events"]]
        assert pages == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("status", "delivered"),
        ("limit", "0"),
        ("limit", "201"),
        ("limit", "x"),
        ("skip", "-1"),
        ("skip", "2147483648"),
    ],
)
async def test_a_query_that_means_nothing_is_refused(name: str, value: str, owner: Caller, webhook_id: str) -> None:
    answer = await owner.get(f"/webhooks/{webhook_id}/events", **{name: value})
    assert (answer.status, answer.pointers) == (400, [f"?{name}"])


async def test_a_page_has_at_most_200_and_may_lie_beyond_the_end(owner: Caller, webhook_id: str, log: RelayLog) -> None:
    event = await log.event(webhook_id)
    assert len((await events_of(owner, webhook_id, limit="200"))["events"]) == 1
    page = await events_of(owner, webhook_id, skip="2147483647", limit="200")
    assert (page["events"], page["total"]) == ([], 1)
    assert event.position == 1


async def test_another_webhooks_events_are_not_listed(owner: Caller, webhook_id: str, log: RelayLog) -> None:
    other = await make_webhook(owner)
    await log.succeeded(other["id"])
    await log.event(other["id"])
    assert (await events_of(owner, webhook_id))["total"] == 0
    assert (await events_of(owner, webhook_id))["events"] == []


async def test_a_page_reads_its_own_rows_only_however_long_the_history(
    owner: Caller, webhook_id: str, connection: Connection
) -> None:
    """20,000 successes, with 200 failures deep among them, and 5,000 pending. Another webhook has
    the same."""
    await connection.execute(
        """insert into events (position, id, seq, type, data, occurred_at, audience, location_ids, user_ids, deliveries)
           select n, uuidv7(), n, 'item-created', '{}', now(), 'inventory', '{}', '{}', 1 from generate_series(1, 25000) as n"""
    )
    await connection.execute(
        """insert into attempts (webhook_id, position, event_id, event_type, event_at, attempt, outcome, started_at)
           select w.id, n, e.id, 'item-created', e.recorded_at, 1,
                  case when n between 100 and 299 then 'failed' else 'success' end, now()
             from generate_series(1, 20000) as n
             join events as e on e.position = n
            cross join unnest(array[$1::uuid, $2]) as w (id)""",
        webhook_id,
        new_id(),
    )
    await connection.execute(
        """insert into deliveries (webhook_id, position, event_id, event_type, event_at)
           select $1, position, id, 'item-created', recorded_at from events where position > 20000""",
        webhook_id,
    )
    await connection.execute("analyze")
    statement = load("webhooks").list_deliveries
    await connection.execute(f"prepare page as {statement.sql}")
    for mode in ("force_custom_plan", "force_generic_plan"):
        await connection.execute(f"set plan_cache_mode = {mode}")
        for statuses, before in (
            ({"pending", "success", "failed"}, MAX_POSITION),
            ({"pending", "success", "failed"}, 20_050),
            ({"success", "failed"}, 10_000),
            ({"pending"}, MAX_POSITION),
            ({"success"}, MAX_POSITION),
            ({"failed"}, MAX_POSITION),
        ):
            values = {
                "webhook_id": f"'{webhook_id}'",
                "before": before,
                "ttl_seconds": 2_592_000,
                "skip": 0,
                "limit": 50,
                "role": "'admin'",
                "user_id": f"'{webhook_id}'",
                **{f"with_{name}": name in statuses for name in ("pending", "success", "failed")},
            }
            arguments = ", ".join(str(value) for value in statement.arguments(values))
            (plan,) = orjson.loads(
                await connection.fetchval(f"explain (analyze, format json) execute page ({arguments})")
            )
            read_nodes = [node for node in nodes(plan["Plan"]) if "Relation Name" in node]
            read = sum(
                (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
                for node in read_nodes
            )
            assert read <= 3 * 51 + 100, (mode, statuses, before, plan)


async def test_the_history_hides_the_data_that_its_reader_may_no_longer_read(
    api: Api, sign_up: SignUp, connection: Connection, pool: Pool
) -> None:
    admin, owner = Caller(api, await sign_up("admin")), Caller(api, await sign_up("supervisor"))
    webhook = await make_webhook(owner, events=["transfer-approved"])
    data = {"transferId": str(new_id()), "requestedBy": str(new_id())}
    event_id = await write_event(connection, "transfer-approved", json.dumps(data))
    await FanOut(pool).batch()
    one = f"/webhooks/{webhook['id']}/events/{event_id}"

    async def seen(by: Caller) -> list[object]:
        return [(await events_of(by, webhook["id"]))["events"][0]["data"], (await by.get(one)).body["event"]["data"]]

    assert await seen(owner) == [data, data]
    assert (await admin.put(f"/users/{owner.token.user_id}", {"role": "worker"})).status == 200
    assert await seen(owner) == [None, None]
    assert await seen(admin) == [data, data]
