"""What ends, or was asked, in a way that says nothing of the receiver: it holds nobody up, and is told of all the same."""

import asyncio
import json
import time

import asyncpg
import pytest
from aiohttp import web

from relay.board import Board
from relay.identity import Identity
from relay.lead import retention
from relay.lead.fanout import FanOut
from relay.lead.listen import LISTENING
from relay.record.settle import HealthReport
from relay.transport import HttpTransport
from relay.watch.database import QueueConnection, Queues, open_queues
from service.platform.db import COMMAND_TIMEOUT, Pool, open_pool
from service.platform.ids import new_id
from service.platform.queries import Statement
from service.platform.session import open_session
from service.platform.settings import Settings
from tests.support.database import THIS_DATABASE, Connection
from tests.support.receivers.receiver import Arrival, Receiver
from tests.support.relay.breakers import lane, notices
from tests.support.relay.parts import housekeeping, leading, present
from tests.support.relay.processes import Relays
from tests.support.relay.sending import Sending, register
from tests.support.rows import add_user, add_webhook, write_event
from tests.support.waiting import until

OPEN = "update receiver_health set failures = 10, failing_since = now(), failed_events = '{1,2,3}', opened_at = now(), probe_at = now()"


async def test_a_probe_that_ends_without_a_request_makes_room_for_the_next_at_once(
    connection: Connection, settings: Settings, relays: Relays, receiver: Receiver
) -> None:
    owner = await add_user(connection, "admin")
    webhook = await add_webhook(
        connection, settings, receiver.url, ["item-created", "user-logout"], owner_id=owner, timeout_ms=60_000
    )
    await connection.execute("update users set status = 'suspended' where id = $1", owner)
    await relays.start(1, WEBHOOK_BREAKER_DELAY="100")
    for _ in range(3):
        await write_event(connection, "user-logout", json.dumps({"userId": str(new_id())}))
    await write_event(connection)

    async def queued() -> bool:
        return bool(await connection.fetchval("select count(*) = 4 from deliveries"))

    await until(queued, "all are queued")
    await connection.execute(OPEN)
    # Who is no admin any more may not read what three of them are about.
    await connection.execute("update users set role = 'worker', status = 'active' where id = $1", owner)
    await connection.execute("insert into lane_wakes values ($1)", webhook.id)
    await receiver.wait_for(lambda: len(receiver.arrivals) == 1)
    await relays.idle()
    assert await connection.fetchval("select count(*) from attempts where outcome = 'cancelled'") == 3
    # Long before the lease of the first such probe would have run out.
    assert await connection.fetchval("select max(recorded_at) - min(recorded_at) < interval '30 s' from attempts")


async def test_410_of_the_url_that_a_webhook_had_before_does_not_disable_it(
    connection: Connection, settings: Settings, relays: Relays, receiver: Receiver
) -> None:
    moved = asyncio.Event()

    async def answer(arrival: Arrival) -> web.StreamResponse:
        if arrival.path == "/old":
            await moved.wait()
            return web.Response(status=410)
        return web.Response()

    receiver.answer = answer
    webhook = await add_webhook(connection, settings, receiver.url + "/old", ["item-created"], max_retries=0)
    await relays.start(1)
    await write_event(connection)
    await receiver.wait_for(lambda: len(receiver.arrivals) == 1)
    await connection.execute(
        "update webhooks set url = $2, version = version + 1 where id = $1", webhook.id, receiver.url + "/new"
    )
    moved.set()
    await relays.idle()
    assert await connection.fetchval("select status from attempts") == 410
    assert await connection.fetchval("select active from webhooks where id = $1", webhook.id)
    assert (await lane(connection, webhook.id))["failures"] == 0
    await write_event(connection)
    await receiver.wait_for(lambda: len(receiver.arrivals) == 2)


async def test_a_failure_without_a_request_is_told_of(
    connection: Connection, settings: Settings, relays: Relays, receiver: Receiver
) -> None:
    owner = await add_user(connection)
    webhook = await add_webhook(connection, settings, receiver.url, ["item-created"], owner_id=owner)
    await connection.execute("update webhooks set secret_sealed = repeat('x', 48)::bytea where id = $1", webhook.id)
    await add_webhook(connection, settings, receiver.url + "/ops", ["delivery-failed"], owner_id=owner)
    await relays.start(1)
    await write_event(connection)
    await receiver.wait_for(lambda: len(receiver.arrivals) == 1)
    [(kind, data)] = await notices(connection)
    assert (kind, data["webhookId"], data["count"]) == ("delivery-failed", str(webhook.id), 1)
    assert data["lastError"].startswith("cannot sign")
    assert (await lane(connection, webhook.id))["failures"] == 0


async def test_what_is_recorded_is_not_recorded_again_when_its_lane_could_not_be_written(
    connection: Connection,
    settings: Settings,
    queues: Pool,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    webhook = await add_webhook(connection, settings, receiver.url, ["item-created"])
    relay_id = await register(connection)
    await connection.execute(OPEN)
    for _ in range(2):
        await write_event(connection)
    await FanOut(queues).batch()
    sending = Sending(queues, settings, relay_id, HttpTransport(settings.webhook_allowed_networks))
    settle, cut_off = sending.recorder._settler.settle, [True]

    async def once_cut_off(connection: Connection, results: dict[object, HealthReport], **options: bool) -> object:
        if cut_off:
            cut_off.pop()
            raise asyncpg.ConnectionDoesNotExistError("cut off")
        return await settle(connection, results, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(sending.recorder._settler, "settle", once_cut_off)

    async def beat() -> None:
        while True:
            sending.outage.alive(time.monotonic())
            await asyncio.sleep(0.1)

    beating = asyncio.create_task(beat())
    try:
        sending.board.due([webhook.id])
        await receiver.wait_for(lambda: len(receiver.arrivals) == 2)

        async def recorded() -> bool:
            return bool(await connection.fetchval("select count(*) = 2 from attempts where outcome = 'success'"))

        await until(recorded, "both are recorded")
    finally:
        beating.cancel()
        await sending.stop()
    assert not cut_off
    assert await connection.fetchval("select count(*) from attempts") == 2
    assert (await lane(connection, webhook.id))["opened_at"] is None


async def test_a_relay_is_taken_for_dead_only_when_it_has_been_seen_to_be_silent(
    connection: Connection, queues: Queues
) -> None:
    """Where the server's clock leaps ahead all seem to be silent at once, and beat again."""
    identity = Identity()
    presence = present(queues, Board(), identity)
    await presence.register()
    presence._steady_since -= 60
    peer = await register(connection)
    leap = "update relays set seen_at = seen_at - interval '10 s' where id = $1"
    await connection.execute(leap, peer)
    await presence._beat()
    await connection.execute("update relays set seen_at = clock_timestamp() where id = $1", peer)
    await asyncio.sleep(1.6)
    await presence._beat()
    await connection.execute(leap, peer)
    await presence._beat()
    assert await connection.fetchval("select count(*) from relays") == 2


@pytest.mark.parametrize(
    "seen", ["clock_timestamp()", "clock_timestamp() + interval '10 days'", "clock_timestamp() - interval '10 days'"]
)
async def test_a_relay_that_is_silent_is_taken_for_dead_whatever_time_it_wrote(
    connection: Connection, queues: Queues, seen: str
) -> None:
    """The server's clock may have been another one when it beat last."""
    identity = Identity()
    presence = present(queues, Board(), identity)
    await presence.register()
    presence._steady_since -= 60
    peer = await register(connection)
    await connection.execute(f"update relays set seen_at = {seen} where id = $1", peer)
    await presence._beat()
    assert await connection.fetchval("select count(*) from relays") == 2
    # As if so much time had passed since.
    presence._peers = {relay_id: (since - 5.1, seen_at) for relay_id, (since, seen_at) in presence._peers.items()}
    await presence._beat()
    assert await connection.fetchval("select array_agg(id) from relays") == [identity.relay_id]


@pytest.mark.parametrize(
    ("name", "value", "pinned"),
    [("lock_timeout", "500ms", "0"), ("default_transaction_isolation", "repeatable read", "read committed")],
)
async def test_what_statements_rely_on_is_not_left_to_the_databases_defaults(
    connection: Connection, database_url: str, name: str, value: str, pinned: str
) -> None:
    database = await connection.fetchval("select current_database()")
    await connection.execute(f"alter database {database} set {name} = '{value}'")
    queues = await open_queues(database_url)
    served = await open_pool(database_url, application_name="api", size=1)
    listening = await open_session(database_url, QueueConnection, application_name="listen", settings=LISTENING)
    assert await connection.fetchval(
        "select setconfig from pg_db_role_setting where setdatabase = (select oid from pg_database where datname = $1)",
        database,
    )
    assert [await each.fetchval(f"show {name}") for each in (queues, served, listening)] == [pinned] * 3
    await listening.close()
    await queues.close()
    await served.close()


async def test_a_step_of_housekeeping_that_takes_too_long_holds_up_no_other(
    connection: Connection, settings: Settings, queues: Queues, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add_webhook(connection, settings, "http://127.0.0.1:9/", ["item-created"])
    await connection.execute("update receiver_health set unannounced = 3")
    keeping = housekeeping(queues, settings, identity=leading())
    tried = 0

    async def dawdle(connection: Connection, *_: object) -> int:
        nonlocal tried
        tried += 1
        await connection.execute("set local statement_timeout = 50")
        return int(await connection.fetchval("select count(*) from pg_sleep(5)"))

    # As it is in operation: the server ends a statement before the client gives it up, which would be taken for the server's absence.
    timeout = await queues.fetchval("select extract(epoch from current_setting('statement_timeout')::interval)")
    assert timeout < COMMAND_TIMEOUT
    monkeypatch.setattr(keeping, "_cancel", dawdle)
    monkeypatch.setattr(retention, "ANNOUNCE_SECONDS", 0.2)
    running = asyncio.create_task(keeping.run())
    await until(lambda: connection.fetchval("select count(*) = 1 from outbox"), "what failed is told of")
    assert tried
    running.cancel()
    await asyncio.wait([running])


async def test_a_registration_whose_answer_is_lost_is_made_again(
    connection: Connection, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    queues = await open_queues(database_url)
    identity = Identity()
    presence = present(queues, Board(), identity)
    execute = Statement.execute
    lost: list[object] = []

    async def unanswered(statement: Statement, executor: object, **values: object) -> str:
        done = await execute(statement, executor, **values)  # type: ignore[arg-type]
        if statement.name == "presence.register" and not lost:
            lost.append(values["id"])
            raise asyncpg.ConnectionDoesNotExistError("cut off")
        return done

    try:
        await presence.register()
        await connection.execute("delete from relays")
        monkeypatch.setattr(Statement, "execute", unanswered)
        with pytest.raises(asyncpg.ConnectionDoesNotExistError):
            await presence._beat()
        await presence._beat()
        await presence._beat()
    finally:
        await queues.close()
    # What the parts of this relay take for its id is one that is listed.
    assert identity.relay_id != lost[0]
    assert await connection.fetchval("select exists (select from relays where id = $1)", identity.relay_id)


async def test_which_backend_a_relay_listens_on_is_known_before_it_leads(
    connection: Connection, relays: Relays
) -> None:
    await relays.start(1)
    holder = (
        "select pid from pg_locks where locktype = 'advisory' and classid = 1246712659 and objid = 1 and granted"
        f" and {THIS_DATABASE}"
    )
    for _ in range(3):
        before = await connection.fetchval(holder)
        await connection.execute("select pg_terminate_backend($1)", before)

        async def leads_anew(before: int = before) -> bool:
            return await connection.fetchval(holder) not in (None, before)

        await until(leads_anew, "it leads on another connection")
        assert await connection.fetchval(f"select listen_pid = ({holder}) from relays")


async def test_a_partition_that_is_missing_is_made_within_a_minute(
    connection: Connection, settings: Settings, queues: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "ANNOUNCE_SECONDS", 0.05)
    keeping = asyncio.create_task(housekeeping(queues, settings, identity=leading()).run())
    count = "select count(*) from pg_inherits where inhparent = 'attempts'::regclass"
    try:
        for _ in range(2):
            there = await connection.fetchval(count)
            name = await connection.fetchval(
                "select max(inhrelid::regclass::text) from pg_inherits where inhparent = 'attempts'::regclass"
            )
            await connection.execute(f"drop table {name}")

            async def made(there: int = there) -> bool:
                return bool(await connection.fetchval(count) == there)

            await until(made, "it is there again")
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
