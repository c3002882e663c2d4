"""A webhook's rate limit, and its receiver's health: the API shows what relays have learnt, and can
reset it."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
import pytest

from service.platform.clock import iso
from service.platform.db import connect
from service.platform.ids import new_id
from service.platform.queries import load
from tests.support.api.caller import Caller
from tests.support.api.webhooks import make_webhook, retry
from tests.support.database import Connection
from tests.support.relay.log import RelayLog

NOW = datetime.now(UTC)
CLOSED = {"state": "closed", "consecutiveFailures": 0, "openedAt": None, "nextProbe": None}
# Rows of receiver_health as relays leave them.
FAILING: dict[str, Any] = {"failures": 4, "failing_since": NOW - timedelta(hours=1), "failed_events": [1, 2]}
OPEN: dict[str, Any] = {
    "failures": 12,
    "failing_since": NOW - timedelta(hours=1),
    "failed_events": [1, 2, 3],
    "opened_at": NOW - timedelta(minutes=50),
    "probe_at": NOW + timedelta(hours=5),
    "failed_probes": 2,
}


async def _lane(connection: Connection, webhook_id: str, **columns: Any) -> None:
    names = list(columns)
    assignments = ", ".join(f"{name} = ${number}" for number, name in enumerate(names, start=2))
    await connection.execute(
        f"update receiver_health set {assignments} where webhook_id = $1", UUID(webhook_id), *columns.values()
    )


async def _show(caller: Caller, webhook_id: str) -> Any:
    answer = await caller.get(f"/webhooks/{webhook_id}")
    assert answer.status == 200, answer.body
    return answer.body["webhook"]


async def _listed_state(caller: Caller) -> Any:
    (listed,) = (await caller.get("/webhooks")).body["webhooks"]
    return listed["breaker"]


# Rate limit


async def test_a_rate_limit_is_given_changed_as_a_whole_and_taken_away(owner: Caller, connection: Connection) -> None:
    webhook = await make_webhook(owner, rateLimit={"perSecond": 5, "burst": 20})
    path = f"/webhooks/{webhook['id']}"
    assert webhook["rateLimit"] == {"perSecond": 5, "burst": 20}
    steps: list[tuple[dict[str, Any], dict[str, int] | None]] = [
        ({}, {"perSecond": 5, "burst": 20}),
        ({"timeout": 6000}, {"perSecond": 5, "burst": 20}),
        ({"rateLimit": {"perSecond": 7}}, {"perSecond": 7, "burst": 7}),
        ({"rateLimit": {"perSecond": 10000, "burst": 1}}, {"perSecond": 10000, "burst": 1}),
        ({"rateLimit": None}, None),
        ({"rateLimit": {"perSecond": 1}}, {"perSecond": 1, "burst": 1}),
    ]
    for sent, shown in steps:
        answer = await owner.put(path, sent)
        assert answer.status == 200, answer.body
        assert answer.body["webhook"]["rateLimit"] == shown
        assert (await _show(owner, webhook["id"]))["rateLimit"] == shown
        stored = await connection.fetchrow("select rate_per_second, rate_burst from webhooks")
        assert stored is not None
        assert tuple(stored) == (tuple(shown.values()) if shown else (None, None))
    audited = await connection.fetch("select after from audit where entity = 'webhook' order by id")
    assert [orjson.loads(row["after"])["rateLimit"] for row in audited] == [
        {"perSecond": 5, "burst": 20},
        *(shown for _, shown in steps),
    ]


async def test_a_webhook_without_a_rate_limit_has_none(owner: Caller) -> None:
    for fields in ({}, {"rateLimit": None}):
        assert (await make_webhook(owner, **fields))["rateLimit"] is None


@pytest.mark.parametrize(
    ("limit", "pointer"),
    [
        ({}, "/rateLimit/perSecond"),
        ({"burst": 5}, "/rateLimit/perSecond"),
        ({"perSecond": None}, "/rateLimit/perSecond"),
        ({"perSecond": 0}, "/rateLimit/perSecond"),
        ({"perSecond": 10001}, "/rateLimit/perSecond"),
        ({"perSecond": 1.5}, "/rateLimit/perSecond"),
        ({"perSecond": "five"}, "/rateLimit/perSecond"),
        ({"perSecond": True}, "/rateLimit/perSecond"),
        ({"perSecond": 5, "burst": 0}, "/rateLimit/burst"),
        ({"perSecond": 5, "burst": 10001}, "/rateLimit/burst"),
        ({"perSecond": 5, "burst": None}, "/rateLimit/burst"),
        (5, "/rateLimit"),
    ],
)
async def test_a_rate_limit_that_is_none_is_refused(limit: Any, pointer: str, owner: Caller) -> None:
    webhook = await make_webhook(owner, rateLimit={"perSecond": 3})
    for answer in (
        await owner.post("/webhooks", {"url": webhook["url"], "events": ["item-created"], "rateLimit": limit}),
        await owner.put(f"/webhooks/{webhook['id']}", {"rateLimit": limit}),
    ):
        assert (answer.status, answer.pointers) == (400, [pointer])
    assert (await _show(owner, webhook["id"]))["rateLimit"] == {"perSecond": 3, "burst": 3}


async def test_the_etag_stands_for_the_rate_limit_and_not_for_what_happens_to_the_receiver(
    owner: Caller, connection: Connection
) -> None:
    webhook = await make_webhook(owner)
    path = f"/webhooks/{webhook['id']}"
    tag = (await owner.get(path)).headers["ETag"]
    await _lane(connection, webhook["id"], **OPEN, pauses=1, paused_until=NOW + timedelta(minutes=1))
    assert (await owner.get(path)).headers["ETag"] == tag
    changed = await owner.sending(If_Match=tag).put(path, {"rateLimit": {"perSecond": 5}})
    assert changed.status == 200
    assert changed.headers["ETag"] != tag
    assert (await owner.sending(If_Match=tag).put(path, {"timeout": 6000})).status == 412


# Breaker


async def test_a_new_webhooks_breaker_is_closed(owner: Caller) -> None:
    webhook = await make_webhook(owner)
    assert webhook["breaker"] == CLOSED
    assert (webhook["failingSince"], webhook["pausedUntil"], webhook["disabled"]) == (None, None, None)
    assert await _listed_state(owner) == {"state": "closed"}


async def test_a_failing_receiver_is_seen_before_its_breaker_opens(owner: Caller, connection: Connection) -> None:
    webhook = await make_webhook(owner)
    await _lane(connection, webhook["id"], **FAILING)
    shown = await _show(owner, webhook["id"])
    assert shown["breaker"] == {**CLOSED, "consecutiveFailures": 4}
    assert shown["failingSince"] == iso(FAILING["failing_since"])
    assert await _listed_state(owner) == {"state": "closed"}


async def test_an_open_breaker_says_since_when_and_until_when(owner: Caller, connection: Connection) -> None:
    webhook = await make_webhook(owner)
    await _lane(connection, webhook["id"], **OPEN)
    shown = await _show(owner, webhook["id"])
    assert shown["breaker"] == {
        "state": "open",
        "consecutiveFailures": 12,
        "openedAt": iso(OPEN["opened_at"]),
        "nextProbe": iso(OPEN["probe_at"]),
    }
    assert await _listed_state(owner) == {"state": "open"}


async def test_a_breaker_is_half_open_while_a_relay_that_lives_has_a_probe_out(
    owner: Caller, connection: Connection
) -> None:
    webhook, relay = await make_webhook(owner), new_id()
    await connection.execute("insert into relays (id, version, host, pid) values ($1, 'x', 'here', 1)", relay)
    soon = datetime.now(UTC) + timedelta(minutes=1)
    for probe, state in (
        ({"probe_by": relay, "probe_until": soon}, "half-open"),
        ({"probe_by": relay, "probe_until": NOW - timedelta(seconds=1)}, "open"),
        # No probe takes so long, so a clock was ahead.
        ({"probe_by": relay, "probe_until": soon + timedelta(hours=1)}, "open"),
        ({"probe_by": new_id(), "probe_until": soon}, "open"),
    ):
        await _lane(connection, webhook["id"], **OPEN, **probe)
        assert (await _show(owner, webhook["id"]))["breaker"]["state"] == state
        assert await _listed_state(owner) == {"state": state}


async def test_a_pause_is_shown_while_it_lasts(owner: Caller, connection: Connection) -> None:
    webhook, until = await make_webhook(owner), NOW + timedelta(hours=5)
    await _lane(connection, webhook["id"], pauses=1, paused_until=until)
    assert (await _show(owner, webhook["id"]))["pausedUntil"] == iso(until)
    await _lane(connection, webhook["id"], pauses=1, paused_until=NOW - timedelta(seconds=1))
    assert (await _show(owner, webhook["id"]))["pausedUntil"] is None


# Made active again


async def test_made_active_a_webhook_begins_anew_and_only_what_is_untold_is_kept(
    owner: Caller, connection: Connection
) -> None:
    webhook, bystander = await make_webhook(owner), await make_webhook(owner)
    known = {
        **OPEN,
        "probe_by": new_id(),
        "probe_until": NOW + timedelta(minutes=1),
        "probe_position": 7,
        "pauses": 2,
        "paused_until": NOW + timedelta(minutes=1),
    }
    kept = {"tokens": 1.5, "tokens_at": NOW, "unannounced": 3, "announced_at": NOW}
    for lane in (webhook, bystander):
        await _lane(connection, lane["id"], **known, **kept)
    fresh = await make_webhook(owner)

    answer = await owner.put(f"/webhooks/{webhook['id']}", {"active": True})

    assert answer.status == 200
    assert answer.body["webhook"]["breaker"] == CLOSED
    assert (answer.body["webhook"]["failingSince"], answer.body["webhook"]["pausedUntil"]) == (None, None)
    lanes = {str(row["webhook_id"]): dict(row) for row in await connection.fetch("select * from receiver_health")}
    same = {
        **lanes[fresh["id"]],
        **kept,
        "webhook_id": UUID(webhook["id"]),
        "changed_at": lanes[webhook["id"]]["changed_at"],
    }
    assert lanes[webhook["id"]] == same
    assert {name: lanes[bystander["id"]][name] for name in known} == known
    assert await connection.fetchval("select webhook_id from lane_wakes") == UUID(webhook["id"])


@pytest.mark.parametrize("change", [{"timeout": 6000}, {"active": False}])
async def test_any_other_change_leaves_the_breaker_as_it_is(
    change: dict[str, Any], owner: Caller, connection: Connection
) -> None:
    webhook = await make_webhook(owner)
    await _lane(connection, webhook["id"], **OPEN)
    answer = await owner.put(f"/webhooks/{webhook['id']}", change)
    assert answer.body["webhook"]["breaker"]["state"] == "open"
    assert answer.body["webhook"]["disabled"] is None


async def test_a_disabled_webhook_says_why_until_it_is_made_active(owner: Caller, connection: Connection) -> None:
    webhook = await make_webhook(owner)
    path = f"/webhooks/{webhook['id']}"
    reason = "the receiver answered 410: it will take nothing any more"
    await connection.execute("update webhooks set active = false, disabled_at = $1, disabled_reason = $2", NOW, reason)
    disabled = {"at": iso(NOW), "reason": reason}
    for change in ({}, {"timeout": 6000}, {"active": False}):
        answer = await owner.put(path, change)
        assert answer.status == 200, answer.body
        assert (answer.body["webhook"]["active"], answer.body["webhook"]["disabled"]) == (False, disabled)

    answer = await owner.put(path, {"active": True})

    assert answer.status == 200
    assert (answer.body["webhook"]["active"], answer.body["webhook"]["disabled"]) == (True, None)
    audit = await connection.fetchrow(
        "select before, after from audit where entity = 'webhook' order by id desc limit 1"
    )
    assert audit is not None
    before, after = orjson.loads(audit["before"]), orjson.loads(audit["after"])
    assert (before["disabled"], after["disabled"]) == (disabled, None)
    assert "breaker" not in before


async def test_a_change_and_a_relay_that_disables_do_not_wait_for_each_other(
    owner: Caller, connection: Connection, database_url: str
) -> None:
    """A relay locks the lane first and then the webhook. A change locks the webhook first and then
    the lane."""
    webhook = await make_webhook(owner)
    path, webhook_id = f"/webhooks/{webhook['id']}", UUID(webhook["id"])
    relay = await connect(database_url, application_name="test")
    await relay.execute("set lock_timeout = '10s'")
    try:
        async with relay.transaction():
            assert await load("settle").lock.fetch(relay, webhook_ids=[webhook_id])
            async with connection.transaction():
                assert await load("webhooks").lock.fetchrow(connection, id=webhook_id)
                assert await load("settle").disable.fetchval(relay, webhook_id=webhook_id, reason="gone") is None
            assert await load("settle").disable.fetchval(relay, webhook_id=webhook_id, reason="gone") == webhook_id
    finally:
        await relay.close()
    assert (await owner.get(path)).body["webhook"]["disabled"]["reason"] == "gone"


# A manual retry


async def test_a_retry_goes_as_the_probe_of_an_open_breaker_and_of_no_other(
    owner: Caller, connection: Connection
) -> None:
    webhook = await make_webhook(owner)
    log = RelayLog(connection)
    await log.failed(webhook["id"])
    while_failing, while_open = await log.failed(webhook["id"]), await log.failed(webhook["id"])

    await _lane(connection, webhook["id"], **FAILING)
    assert (await retry(owner, webhook["id"], while_failing)).status == 200
    assert await connection.fetchval("select probe_position from receiver_health") is None

    await _lane(connection, webhook["id"], **OPEN)
    assert (await retry(owner, webhook["id"], while_open)).status == 200
    assert await connection.fetchval("select probe_position from receiver_health") == while_open.position
    assert await connection.fetchval("select count(*) from lane_wakes") == 2
