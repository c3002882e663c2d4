"""Rows that a wrong clock has left for the API: no user is locked out, nothing lasts longer than it
can be set to, and events get the right time."""

from datetime import UTC, datetime, timedelta

import pytest

from service.auth.throttle import LOGIN_FAILURE_MINUTES, MAX_LOGIN_FAILURES, Throttle
from service.events.catalogue import CategoryCreated
from service.mutation import Mutation, command
from service.platform.db import Pool
from service.platform.errors import TooManyRequests
from service.platform.ids import new_id
from service.platform.server_clock import SERVER_CLOCK
from service.platform.settings import Settings
from service.records import Origin
from tests.support.api.caller import Api, Caller, SignUp
from tests.support.api.webhooks import make_webhook
from tests.support.database import Connection
from tests.support.relay.fan_out import drain
from tests.support.rows import write_event
from tests.support.waiting import until

LEAPS = ["1 hour", "10 days"]


@pytest.mark.parametrize("leap", LEAPS)
async def test_failed_logins_of_a_clock_that_was_ahead_keep_nobody_out(
    connection: Connection, pool: Pool, leap: str
) -> None:
    fail = "insert into login_failures (identifier, ip_address, at) select 'ada', '::1', now() + $1::text::interval from generate_series(1, $2)"
    await connection.execute(fail, leap, MAX_LOGIN_FAILURES)
    async with Throttle().admit(pool, "ada", "::1"):
        pass
    await connection.execute(fail, "30 seconds", MAX_LOGIN_FAILURES)
    with pytest.raises(TooManyRequests) as refused:
        async with Throttle().admit(pool, "ada", "::1"):
            pass
    assert refused.value.retry_after is not None
    assert refused.value.retry_after <= LOGIN_FAILURE_MINUTES * 60


async def test_a_session_lasts_no_longer_than_it_can_once_it_is_used(
    api: Api, sign_up: SignUp, connection: Connection, settings: Settings
) -> None:
    caller = Caller(api, await sign_up("worker"))
    await connection.execute(
        "update sessions set last_used_at = now() + interval '10 days', expires_at = now() + interval '400 days'"
    )
    assert (await caller.get("/auth/profile")).status == 200

    async def bounded() -> bool:
        return bool(
            await connection.fetchval(
                "select last_used_at <= now() and expires_at <= now() + $1::interval from sessions",
                settings.jwt_refresh_expires_in,
            )
        )

    await until(bounded, "its end is one that it can have")


async def test_a_key_is_not_held_longer_than_a_request_can_run(
    api: Api, sign_up: SignUp, connection: Connection
) -> None:
    keyed = Caller(api, await sign_up("admin")).sending(Idempotency_Key="k")
    assert (await keyed.post("/items", {"name": "A"})).status == 201
    await connection.execute("update idempotent_answers set running_until = now() + interval '10 days'")
    assert (await keyed.post("/items", {"name": "A"})).status == 201


@pytest.mark.parametrize("hours", [1, 240, -1, -240])
async def test_events_of_a_host_with_a_wrong_clock_have_the_databases_time(
    connection: Connection, pool: Pool, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    wrong = datetime.now(UTC) + timedelta(hours=hours)
    monkeypatch.setattr(SERVER_CLOCK, "now", lambda: wrong)

    @command("create")
    async def create(change: Mutation) -> None:
        category_id = new_id()
        change.emit(CategoryCreated(categoryId=category_id, name="Tools", parent_id=None))
        change.audit("category", category_id, None, {})

    await create(pool, Origin())
    row = await connection.fetchrow("select id, occurred_at, uuid_time(id) as made_at, written_at from outbox")
    assert row is not None
    assert abs(row["occurred_at"] - row["written_at"]) < timedelta(minutes=1)
    assert abs(row["made_at"] - row["written_at"]) < timedelta(minutes=1)
    assert await connection.fetchval("select event_ids from audit") == [row["id"]]


async def test_a_webhooks_stream_begins_where_the_log_ended_whatever_time_it_was(
    api: Api, sign_up: SignUp, connection: Connection, pool: Pool
) -> None:
    await write_event(connection)
    await drain(pool)
    caller = Caller(api, await sign_up("admin"))
    webhook = await make_webhook(caller)
    await connection.execute("update webhooks set created_at = now() + interval '10 days'")
    event_id = await write_event(connection)
    await drain(pool)
    answer = await caller.get(f"/webhooks/{webhook['id']}/stream")
    assert [event["id"] for event in answer.body["events"]] == [str(event_id)]
