"""Users see and end their own sessions, and change their password. Wrong passwords are limited."""

import asyncio
from collections import Counter
from typing import Any
from uuid import UUID, uuid4

import orjson

from service.auth.last_used import LAST_USED
from service.auth.throttle import MAX_LOGIN_FAILURES, Throttle
from service.platform.db import Pool, open_pool
from service.platform.errors import TooManyRequests
from tests.support.api.caller import Api, Caller, SignUp
from tests.support.api.outbox import Outbox, take_events
from tests.support.api.registration import ANNA, AUTH, PASSWORD, bearer, login, profile_status, register
from tests.support.database import Connection


async def test_sessions_are_listed_and_counted(api: Api, connection: Connection, anna: dict[str, Any]) -> None:
    newer = await (await login(api, deviceInfo="Anna's phone")).json()
    gone = await (await login(api)).json()
    await api.post(f"{AUTH}/logout", headers=bearer(gone["token"]))
    run_out = await (await login(api)).json()
    await connection.execute(
        "update sessions set expires_at = now() - interval '1 s' where id = $1", UUID(run_out["sessionId"])
    )
    listed = await api.get(f"{AUTH}/sessions", headers=bearer(anna["token"]))
    shown = await listed.json()
    assert [(one["id"], one["current"]) for one in shown] == [(newer["sessionId"], False), (anna["sessionId"], True)]
    assert shown[0]["device_info"] == "Anna's phone"
    assert listed.headers["X-Total-Count"] == "2"
    for status, expected in (("ended", 2), ("all", 4), ("active", 2)):
        answer = await api.get(f"{AUTH}/sessions", params={"status": status}, headers=bearer(anna["token"]))
        assert len(await answer.json()) == expected
    assert (await api.get(f"{AUTH}/sessions?status=odd", headers=bearer(anna["token"]))).status == 400

    stats = await (await api.get(f"{AUTH}/session-stats", headers=bearer(anna["token"]))).json()
    devices = stats.pop("devices")
    assert stats.pop("last_login").endswith("Z")
    assert stats == {"total": 4, "active": 2, "expired": 1, "ended": {"logout": 1}}
    assert {device["device"]: (device["sessions"], device["active"]) for device in devices}["Anna's phone"] == (1, 1)
    for path in ("sessions", "session-stats"):
        assert (await api.get(f"{AUTH}/{path}")).status == 401


async def test_a_user_ends_one_of_their_own_sessions_only(
    api: Api, sign_up: SignUp, outbox: Outbox, connection: Connection
) -> None:
    admin, worker = Caller(api, await sign_up("admin")), Caller(api, await sign_up("worker"))
    assert (await worker.delete(f"/auth/sessions/{admin.token.session_id}")).status == 403
    # An admin ends the sessions of others through /users.
    assert (await admin.delete(f"/auth/sessions/{worker.token.session_id}")).status == 403
    assert (await worker.delete(f"/auth/sessions/{uuid4()}")).status == 404
    assert (await worker.delete("/auth/sessions/this")).status == 404
    assert await outbox() == []
    assert (await worker.delete(f"/auth/sessions/{worker.token.session_id}")).status == 204
    assert (await worker.get("/auth/profile")).status == 401
    assert [kind for kind, _ in await outbox()] == ["user-logout"]
    assert await connection.fetchval("select end_reason from sessions where ended_at is not null") == "revoked"


async def test_a_new_password_ends_the_other_sessions(api: Api, connection: Connection, anna: dict[str, Any]) -> None:
    others = [await (await login(api)).json() for _ in range(2)]
    await connection.execute("delete from outbox")
    me = bearer(anna["token"])
    wrong = await api.post(
        f"{AUTH}/password", json={"currentPassword": "guess", "newPassword": "long enough"}, headers=me
    )
    assert wrong.status == 422
    assert (await wrong.json())["errors"][0]["pointer"] == "/currentPassword"
    short = await api.post(f"{AUTH}/password", json={"currentPassword": PASSWORD, "newPassword": "short"}, headers=me)
    assert short.status == 400
    assert (await api.post(f"{AUTH}/password", json={})).status == 401
    assert await take_events(connection) == []

    body = {"currentPassword": PASSWORD, "newPassword": "a new and longer one"}
    changed = await api.post(f"{AUTH}/password", json=body, headers=me)
    assert (changed.status, await changed.json()) == (200, {"message": "password changed", "endedSessions": 2})
    assert [await profile_status(api, one["token"]) for one in (anna, *others)] == [200, 401, 401]
    assert [kind for kind, _ in await take_events(connection)] == ["password-changed", "user-logout", "user-logout"]
    assert (await login(api)).status == 401
    assert (await login(api, password="a new and longer one")).status == 200
    entry = await connection.fetchrow("select before::text, after::text from audit where action = 'password'")
    assert entry is not None
    assert len(orjson.loads(entry["before"])["sessions"]) == 2
    assert "longer" not in entry["after"]


async def test_the_last_use_of_a_session_is_kept_to_the_minute(
    api: Api, connection: Connection, sign_up: SignUp
) -> None:
    caller = Caller(api, await sign_up("worker"))
    session = caller.token.session_id

    async def last_used() -> Any:
        await caller.get("/auth/profile")
        assert api.app is not None
        await api.app[LAST_USED].written()
        return await connection.fetchval("select last_used_at from sessions where id = $1", session)

    fresh = await last_used()
    assert await last_used() == fresh
    await connection.execute("update sessions set last_used_at = now() - interval '61 s' where id = $1", session)
    assert await last_used() >= fresh
    # If another transaction has locked the row, neither the request nor the writer waits for it.
    await connection.execute("update sessions set last_used_at = now() - interval '61 s' where id = $1", session)
    async with connection.transaction():
        await connection.execute("select from sessions where id = $1 for update", session)
        assert await last_used() < fresh


async def test_ten_failed_logins_make_that_address_wait_and_nobody_else(api: Api, connection: Connection) -> None:
    await register(api)
    await connection.execute(
        "insert into login_failures (identifier, ip_address, at)"
        " select 'anna.k', ip, now() - interval '1 minute' * minute"
        "   from (values ('127.0.0.1', 1), ('127.0.0.1', 16), ('10.9.8.7', 1)) as failure (ip, minute), generate_series(1, 9)"
    )
    assert (await login(api, password="wrong one")).status == 401
    refused = await login(api, "ANNA.K")
    assert refused.status == 429
    assert 0 < int(refused.headers["Retry-After"]) <= 15 * 60
    assert (await refused.json())["status"] == 429
    # Failures are counted by name and by address: the user's other name has its own count, and so
    # has another address.
    assert (await login(api, ANNA["email"])).status == 200
    await connection.execute("delete from login_failures where at > now() - interval '30 s'")
    assert (await login(api)).status == 200
    left = await connection.fetch("select distinct ip_address from login_failures")
    assert [row[0] for row in left] == ["10.9.8.7"]


async def test_those_who_try_at_once_have_ten_tries_too(api: Api, connection: Connection) -> None:
    await register(api)
    answers = await asyncio.gather(*(login(api, password=f"wrong one {number}") for number in range(30)))
    statuses = Counter(answer.status for answer in answers)
    assert statuses == {401: MAX_LOGIN_FAILURES, 429: 20}
    assert await connection.fetchval("select count(*) from login_failures") == MAX_LOGIN_FAILURES
    assert (await login(api)).status == 429


async def test_tries_are_counted_together_by_two_processes(api: Api, connection: Connection, database_url: str) -> None:
    await register(api)
    pools = [await open_pool(database_url, application_name="test", size=4) for _ in range(2)]

    async def wrong(throttle: Throttle, pool: Pool) -> None:
        async with throttle.admit(pool, "anna.k", "127.0.0.1"):
            await asyncio.sleep(0)

    tries = [wrong(throttle, pool) for throttle, pool in ((Throttle(), pool) for pool in pools) for _ in range(20)]
    results = await asyncio.gather(*tries, return_exceptions=True)
    for pool in pools:
        await pool.close()
    assert results.count(None) == MAX_LOGIN_FAILURES
    assert {type(result) for result in results} == {type(None), TooManyRequests}


async def test_many_who_sign_in_at_once_are_all_let_in(api: Api) -> None:
    await register(api)
    answers = await asyncio.gather(*(login(api) for _ in range(15)))
    assert {answer.status for answer in answers} == {200}
