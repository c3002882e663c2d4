"""If an owner's rights shrink, the claim checks again whether the owner may read a delivery. Old
sessions, failed logins and audit records are forgotten in time."""

import json
from uuid import UUID

from relay.lead.fanout import FanOut
from service.platform.db import open_pool
from service.platform.ids import new_id
from service.platform.settings import Settings
from tests.support.api.caller import Api, Caller, SignUp
from tests.support.api.webhooks import events_of, make_webhook
from tests.support.database import Connection
from tests.support.receivers.receiver import Receiver
from tests.support.relay.parts import housekeeping
from tests.support.relay.processes import Relays
from tests.support.rows import write_event
from tests.support.waiting import until


async def test_what_was_queued_for_an_owner_who_may_no_longer_read_it_is_cancelled(
    api: Api,
    sign_up: SignUp,
    connection: Connection,
    settings: Settings,
    database_url: str,
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
    pool = await open_pool(database_url, application_name="test", size=1)
    try:
        while (await FanOut(pool).batch()).taken:
            pass
    finally:
        await pool.close()
    rows = await connection.fetch("select id, deliveries from events where id = any ($1)", [later, elsewhere])
    assert dict(tuple(row) for row in rows) == {later: 0, elsewhere: 1}


async def test_the_history_hides_the_data_that_its_reader_may_no_longer_read(
    api: Api, sign_up: SignUp, connection: Connection, database_url: str
) -> None:
    admin, owner = Caller(api, await sign_up("admin")), Caller(api, await sign_up("supervisor"))
    webhook = await make_webhook(owner, events=["transfer-approved"])
    data = {"transferId": str(new_id()), "requestedBy": str(new_id())}
    event_id = await write_event(connection, "transfer-approved", json.dumps(data))
    pool = await open_pool(database_url, application_name="test", size=1)
    try:
        await FanOut(pool).batch()
    finally:
        await pool.close()
    one = f"/webhooks/{webhook['id']}/events/{event_id}"

    async def seen(by: Caller) -> list[object]:
        return [(await events_of(by, webhook["id"]))["events"][0]["data"], (await by.get(one)).body["event"]["data"]]

    assert await seen(owner) == [data, data]
    assert (await admin.put(f"/users/{owner.token.user_id}", {"role": "worker"})).status == 200
    assert await seen(owner) == [None, None]
    assert await seen(admin) == [data, data]


async def test_sessions_failed_logins_and_the_audit_trail_are_forgotten_in_time(
    connection: Connection, settings: Settings, database_url: str, sign_up: SignUp
) -> None:
    token = await sign_up("worker")
    await connection.execute(
        "insert into sessions (user_id, created_at, expires_at, ended_at, end_reason)"
        " select $1, now() - interval '90 d', now() + over * interval '1 d',"
        "        case when ended then now() + over * interval '1 d' end, case when ended then 'logout' end"
        "   from (values (-31, true), (-29, true), (-31, false), (-29, false)) as s (over, ended)",
        token.user_id,
    )
    await connection.execute(
        "insert into login_failures (identifier, ip_address, at)"
        " select 'x', '', now() - age from unnest(array[interval '23 h', interval '25 h']) as age"
    )
    # More rows than one batch deletes.
    await connection.execute(
        "insert into audit (at, action, entity, entity_id)"
        " select now() - case when n = 1 then interval '399 d' else interval '401 d' end, 'x', 'x', gen_random_uuid()"
        "   from generate_series(1, 2500) as n"
    )
    pool = await open_pool(database_url, application_name="test", size=1)
    try:
        await housekeeping(pool, settings).once()
    finally:
        await pool.close()
    left = await connection.fetchrow(
        "select (select count(*) from sessions), (select count(*) from login_failures), (select count(*) from audit)"
    )
    assert left is not None
    assert tuple(left) == (3, 1, 1)
