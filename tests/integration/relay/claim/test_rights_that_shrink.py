"""If an owner's rights shrink, the claim checks again whether the owner may read a delivery."""

import json
from uuid import UUID

from service.platform.db import Pool
from service.platform.ids import new_id
from service.platform.settings import Settings
from tests.support.api.caller import Api, Caller, SignUp
from tests.support.api.webhooks import events_of, make_webhook
from tests.support.database import Connection
from tests.support.receivers.receiver import Receiver
from tests.support.relay.fan_out import drain
from tests.support.relay.processes import Relays
from tests.support.rows import write_event
from tests.support.waiting import until


async def test_what_was_queued_for_an_owner_who_may_no_longer_read_it_is_cancelled(
    api: Api,
    sign_up: SignUp,
    connection: Connection,
    settings: Settings,
    pool: Pool,
    relays: Relays,
    receiver: Receiver,
) -> None:
    admin = Caller(api, await sign_up("admin"))
    demoted, unassigned = Caller(api, await sign_up("admin")), Caller(api, await sign_up("foreman"))
    depot, yard = await admin.make("/locations", name="Depot"), await admin.make("/locations", name="Yard")
    for location in (depot, yard):
        await admin.post(f"/locations/{location['id']}/foremen", {"user_id": str(unassigned.token.user_id)})
    types = ["user-logout", "item-created"]
    hooks = [
        await make_webhook(owner, url=f"{receiver.url}/{n}", events=types)
        for n, owner in enumerate((demoted, unassigned))
    ]
    await connection.execute("delete from outbox")
    await relays.start(RELAY_POLL_INTERVAL="86400000")

    # The owners are suspended, so new deliveries are queued and wait.
    for owner in (demoted, unassigned):
        answer = await admin.put(f"/users/{owner.token.user_id}", {"status": "suspended"})
        assert answer.status == 200

    async def fanned_out() -> bool:
        return bool(await connection.fetchval("select not exists (select from outbox)"))

    # The suspension itself wrote events.
    await until(fanned_out, "the outbox is empty")
    await connection.execute("delete from deliveries")
    about_somebody = await write_event(connection, "user-logout", json.dumps({"userId": str(new_id())}))
    items = {
        name: await write_event(connection, "item-created", json.dumps({"location_id": location["id"]}))
        for name, location in (("depot", depot), ("yard", yard))
    }
    owed = "select count(*) from deliveries where leased_by is null"

    async def queued() -> bool:
        return bool(await connection.fetchval(owed) == 5)

    await until(queued, "all are queued, for both")
    assert receiver.arrivals == []

    assert (await admin.delete(f"/locations/{yard['id']}/foremen/{unassigned.token.user_id}")).status == 204
    for owner, change in ((demoted, {"status": "active", "role": "worker"}), (unassigned, {"status": "active"})):
        assert (await admin.put(f"/users/{owner.token.user_id}", change)).status == 200
    # Only the wake that comes with the change makes the relay look.
    await relays.idle()
    got = {(arrival.path, arrival.event_id) for arrival in receiver.arrivals}
    assert got == {("/0", str(items["depot"])), ("/0", str(items["yard"])), ("/1", str(items["depot"]))}

    ends = await connection.fetch("select webhook_id, event_id, error from attempts where outcome = 'cancelled'")
    assert {(row["webhook_id"], row["event_id"]) for row in ends} == {
        (UUID(hooks[0]["id"]), about_somebody),
        (UUID(hooks[1]["id"]), items["yard"]),
    }
    assert {row["error"] for row in ends} == {"its owner may no longer read it"}
    counts = await connection.fetch("select ended, current from delivery_counts where status = 'cancelled'")
    assert [tuple(row) for row in counts] == [(1, 1), (1, 1)]
    page = await events_of(admin, hooks[1]["id"], status="failed")
    assert (page["total"], page["events"][0]["error"]) == (1, "its owner may no longer read it")

    # From now on, fan-out itself leaves these events out.
    later = await write_event(connection, "user-logout", json.dumps({"userId": str(new_id())}))
    elsewhere = await write_event(connection, "item-created", json.dumps({"location_id": yard["id"]}))
    await drain(pool)
    rows = await connection.fetch("select id, deliveries from events where id = any ($1)", [later, elsewhere])
    assert dict(tuple(row) for row in rows) == {later: 0, elsewhere: 1}
