"""What explain says of a delivery that waits for its receiver."""

from datetime import UTC, datetime, timedelta
from typing import Any

from service.platform.clock import iso
from tests.integration.caller import Caller, Database
from tests.integration.conftest import Api, SignUp
from tests.integration.relay_log import Event, RelayLog
from tests.integration.webhooks import make_webhook


async def _why(caller: Caller, webhook: dict[str, Any], event: Event) -> Any:
    answer = await caller.get(f"/events/{event.id}/explain", webhook=webhook["id"])
    assert answer.status == 200, answer.body
    return answer.body


async def test_what_holds_a_delivery_back_is_said_with_how_long(
    api: Api, sign_up: SignUp, connection: Database
) -> None:
    owner, log = Caller(api, await sign_up("worker")), RelayLog(connection)
    webhook = await make_webhook(owner)
    event = await log.event(webhook["id"])
    now = datetime.now(UTC)
    opened_at, until = now - timedelta(minutes=1), now + timedelta(minutes=5)

    await connection.execute("update lanes set pauses = 1, paused_until = $1", until)
    paused = await _why(owner, webhook, event)
    assert (paused["reason"], paused["basis"], paused["at"]) == ("paused", "log", iso(until))
    await connection.execute("update lanes set paused_until = $1", opened_at)
    assert (await _why(owner, webhook, event))["reason"] == "pending"

    await connection.execute(
        "update lanes set failures = 10, failing_since = $1, opened_at = $1, probe_at = $2", opened_at, until
    )
    held = await _why(owner, webhook, event)
    assert (held["reason"], held["basis"], held["at"], held["attempt"]) == ("breaker_open", "log", iso(until), 0)
    assert iso(opened_at) in held["detail"]
    await connection.execute("update lanes set probe_position = $1", event.position)
    assert (await _why(owner, webhook, event))["reason"] == "pending"


async def test_what_waits_for_a_disabled_webhook_and_what_it_missed_are_told_apart(
    api: Api, sign_up: SignUp, connection: Database
) -> None:
    owner, log = Caller(api, await sign_up("worker")), RelayLog(connection)
    webhook = await make_webhook(owner)
    waiting, missed = await log.event(webhook["id"]), await log.event()
    at, why = datetime.now(UTC), "the receiver answered 410: it will take nothing any more"
    await connection.execute("update webhooks set active = false, disabled_at = $1, disabled_reason = $2", at, why)

    parked, never = await _why(owner, webhook, waiting), await _why(owner, webhook, missed)

    assert (parked["reason"], parked["basis"], parked["webhook"]["active"]) == ("disabled", "log", False)
    assert (never["reason"], never["basis"], never["at"]) == ("disabled", "configuration", iso(at))
    for told in (parked, never):
        assert why in told["detail"]
        assert iso(at) in told["detail"]
