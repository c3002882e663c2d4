"""Events about one's own webhooks and their recipients, and an open breaker that its owner sees and
gets past."""

from typing import Any
from uuid import UUID

import pytest
from aiohttp import web

from relay.lead.fanout import FanOut
from relay.record import notices
from relay.record.notices import OPERATIONAL
from service.platform.db import Pool
from tests.support.api.caller import Api, Caller, SignUp
from tests.support.api.webhooks import make_webhook
from tests.support.database import Connection
from tests.support.receivers.receiver import Arrival, Receiver
from tests.support.relay.processes import Relays
from tests.support.rows import write_event
from tests.support.waiting import until

NEVER = {"WEBHOOK_BREAKER_DELAY": "3600000"}


async def test_they_go_to_the_webhooks_owner_and_to_admins_if_they_are_named(
    api: Api, sign_up: SignUp, pool: Pool, connection: Connection
) -> None:
    callers = {role: Caller(api, await sign_up(role)) for role in ("worker", "supervisor", "admin")}
    about = await make_webhook(callers["worker"], events=["item-created", "user-login"])
    names: dict[UUID, str] = {}
    for name, caller in callers.items():
        webhook = await make_webhook(caller, events=sorted(OPERATIONAL))
        names[UUID(webhook["id"])] = name
    row = await connection.fetchrow(
        "select l.*, w.owner_id, w.url, now() as now, null::uuid as event_id, null::text as event_type, null::text as error,"
        " now() as since from receiver_health as l join webhooks as w on w.id = l.webhook_id where w.id = $1",
        UUID(about["id"]),
    )
    assert row is not None
    lane = {**row, "failing_since": row["since"], "opened_at": row["since"]}
    written = [
        notices.disabled(lane, "gone", "the receiver answered 410", row["since"]),
        notices.recovered(lane),
        notices.delivery_failed(lane),
    ]
    for notice in written:
        await write_event(connection, notice.type, notice.data)
    assert (await FanOut(pool).batch()).events == len(written)

    queued = await connection.fetch(
        "select webhook_id, array_agg(event_type order by event_type) as types from deliveries group by 1"
    )
    assert {names.get(row["webhook_id"]): row["types"] for row in queued} == {
        "worker": sorted(OPERATIONAL),
        "admin": sorted(OPERATIONAL),
    }


@pytest.mark.parametrize("by", ["retry", "test", "active"])
async def test_an_open_breaker_is_seen_and_gone_past_by_its_owner(
    by: str, api: Api, sign_up: SignUp, relays: Relays, receiver: Receiver
) -> None:
    status = 500

    async def answer(_: Arrival) -> web.StreamResponse:
        return web.Response(status=status)

    receiver.answer = answer
    owner = Caller(api, await sign_up("admin"))
    webhook = await make_webhook(owner, url=receiver.url, retryPolicy={"maxRetries": 0})
    path = f"/webhooks/{webhook['id']}"

    async def shown() -> Any:
        return (await owner.get(path)).body["webhook"]

    async def is_open() -> bool:
        return bool((await shown())["breaker"]["state"] == "open")

    async def is_closed() -> bool:
        return bool((await shown())["breaker"]["state"] == "closed")

    await relays.start(1, **NEVER)
    for number in range(10):
        await owner.make("/items", name=f"Pump {number}")
    await until(is_open, "ten failures have opened the breaker")
    before = await shown()
    assert before["breaker"]["consecutiveFailures"] == 10
    assert before["failingSince"] <= before["breaker"]["openedAt"] < before["breaker"]["nextProbe"]
    assert (before["active"], before["disabled"]) == (True, None)
    held = await owner.make("/items", name="Held back")
    assert held["id"]

    status = 200
    event_id = receiver.arrivals[3].event_id
    match by:
        case "retry":
            assert (await owner.post(f"{path}/events/{event_id}/retry", None)).status == 200
        case "test":
            assert (await owner.post(f"{path}/test", None)).body["success"]
        case "active":
            assert (await owner.put(path, {"active": True})).status == 200
    await until(is_closed, "the breaker is closed")
    await relays.idle()

    after = await shown()
    assert (after["breaker"]["consecutiveFailures"], after["failingSince"]) == (0, None)
    sent = [arrival.envelope["data"].get("itemId") for arrival in receiver.arrivals[10:]]
    assert held["id"] in sent
    assert len(sent) == (1 if by == "active" else 2)
