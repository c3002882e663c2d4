"""The answers of explain about a delivery that waits for its receiver."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from service.platform.clock import iso
from service.platform.ids import new_id
from service.platform.queries import load
from tests.support.api.caller import Api, Caller, SignUp
from tests.support.api.webhooks import make_webhook
from tests.support.database import Connection
from tests.support.relay.log import Event, RelayLog


async def _why(caller: Caller, webhook: dict[str, Any], event: Event) -> Any:
    answer = await caller.get(f"/events/{event.id}/explain", webhook=webhook["id"])
    assert answer.status == 200, answer.body
    return answer.body


async def test_what_holds_a_delivery_back_is_said_with_how_long(
    api: Api, sign_up: SignUp, connection: Connection
) -> None:
    owner, log = Caller(api, await sign_up("worker")), RelayLog(connection)
    webhook = await make_webhook(owner)
    event = await log.event(webhook["id"])
    now = datetime.now(UTC)
    opened_at, until = now - timedelta(minutes=1), now + timedelta(minutes=5)

    await connection.execute("update receiver_health set pauses = 1, paused_until = $1", until)
    paused = await _why(owner, webhook, event)
    assert (paused["reason"], paused["basis"], paused["at"]) == ("paused", "log", iso(until))
    await connection.execute("update receiver_health set paused_until = $1", opened_at)
    assert (await _why(owner, webhook, event))["reason"] == "pending"

    await connection.execute(
        "update receiver_health set failures = 10, failing_since = $1, opened_at = $1, probe_at = $2", opened_at, until
    )
    held = await _why(owner, webhook, event)
    assert (held["reason"], held["basis"], held["at"], held["attempt"]) == ("breaker_open", "log", iso(until), 0)
    assert iso(opened_at) in held["detail"]
    await connection.execute("update receiver_health set probe_position = $1", event.position)
    assert (await _why(owner, webhook, event))["reason"] == "pending"


async def test_what_waits_for_a_disabled_webhook_and_what_it_missed_are_told_apart(
    api: Api, sign_up: SignUp, connection: Connection
) -> None:
    owner, log = Caller(api, await sign_up("worker")), RelayLog(connection)
    webhook = await make_webhook(owner)
    waiting, missed = await log.event(webhook["id"]), await log.event()
    at, why = datetime.now(UTC), "the receiver answered 410: it will take nothing any more"
    await connection.execute("update webhooks set active = false, disabled_at = $1, disabled_reason = $2", at, why)

    parked, never = await _why(owner, webhook, waiting), await _why(owner, webhook, missed)

    assert (parked["reason"], parked["basis"], parked["webhook"]["active"]) == ("disabled", "log", False)
    assert (never["reason"], never["basis"], never["at"]) == ("disabled", "configuration", iso(at))
    for explanation in (parked, never):
        assert why in explanation["detail"]
        assert iso(at) in explanation["detail"]


async def test_what_waits_for_a_token_is_rate_limited_until_a_claim_would_take_it(
    api: Api, sign_up: SignUp, connection: Connection
) -> None:
    owner, log = Caller(api, await sign_up("worker")), RelayLog(connection)
    webhook = await make_webhook(owner, rateLimit={"perSecond": 4, "burst": 8})
    event = await log.event(webhook["id"])
    assert (await _why(owner, webhook, event))["reason"] == "pending"

    # The bucket begins to fill in an hour, so it is not full again during the request.
    emptied_at = datetime.now(UTC) + timedelta(hours=1)
    await connection.execute("update receiver_health set tokens = 0.5, tokens_at = $1", emptied_at)
    held = await _why(owner, webhook, event)
    token_at = emptied_at + timedelta(seconds=0.125)
    assert (held["reason"], held["basis"], held["at"], held["attempt"]) == ("rate_limited", "log", iso(token_at), 0)
    assert iso(token_at) in held["detail"]

    relay_id = new_id()
    await connection.execute("insert into relays (id, version, host, pid) values ($1, '0', 'here', 1)", relay_id)

    async def claimed(now: datetime) -> list[int]:
        rows = await load("claim").claim.fetch(
            connection,
            relay_id=relay_id,
            webhook_ids=[UUID(webhook["id"])],
            shares=[1],
            floors=[None],
            most=1,
            suspects=False,
            now=now,
        )
        return [row["position"] for row in rows if row["position"] is not None]

    assert await claimed(token_at - timedelta(milliseconds=1)) == []
    assert await claimed(token_at + timedelta(milliseconds=1)) == [event.position]
    await connection.execute("delete from relays")

    await owner.put(f"/webhooks/{webhook['id']}", {"rateLimit": None})
    assert (await _why(owner, webhook, event))["reason"] == "pending"
