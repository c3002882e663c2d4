"""The leader's housekeeping: a slow or failing step does not hold up the others."""

import asyncio

import pytest

from relay.lead import retention
from relay.watch.database import Queues
from service.platform.db import COMMAND_TIMEOUT, Pool
from service.platform.settings import Settings
from tests.support.api.caller import SignUp
from tests.support.database import Connection
from tests.support.relay.parts import housekeeping, leader_identity
from tests.support.rows import add_webhook
from tests.support.waiting import until


async def test_a_step_of_housekeeping_that_takes_too_long_holds_up_no_other(
    connection: Connection, settings: Settings, queues: Queues, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add_webhook(connection, settings, "http://127.0.0.1:9/", ["item-created"])
    await connection.execute("update receiver_health set unannounced = 3")
    keeping = housekeeping(queues, settings, identity=leader_identity())
    tried = 0

    async def dawdle(connection: Connection, *_: object) -> int:
        nonlocal tried
        tried += 1
        await connection.execute("set local statement_timeout = 50")
        return int(await connection.fetchval("select count(*) from pg_sleep(5)"))

    # In production, too, the server ends a statement before the client gives it up. Otherwise the
    # client would report that the server is away.
    timeout = await queues.fetchval("select extract(epoch from current_setting('statement_timeout')::interval)")
    assert timeout < COMMAND_TIMEOUT
    monkeypatch.setattr(keeping, "_cancel", dawdle)
    monkeypatch.setattr(retention, "ANNOUNCE_SECONDS", 0.2)
    running = asyncio.create_task(keeping.run())
    await until(lambda: connection.fetchval("select count(*) = 1 from outbox"), "what failed is told of")
    assert tried
    running.cancel()
    await asyncio.wait([running])


async def test_a_partition_that_is_missing_is_made_within_a_minute(
    connection: Connection, settings: Settings, queues: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "ANNOUNCE_SECONDS", 0.05)
    keeping = asyncio.create_task(housekeeping(queues, settings, identity=leader_identity()).run())
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


async def test_sessions_failed_logins_and_the_audit_trail_are_forgotten_in_time(
    connection: Connection, settings: Settings, pool: Pool, sign_up: SignUp
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
    await housekeeping(pool, settings).once()
    left = await connection.fetchrow(
        "select (select count(*) from sessions), (select count(*) from login_failures), (select count(*) from audit)"
    )
    assert left is not None
    assert tuple(left) == (3, 1, 1)
