"""Registration and login, over HTTP."""

import asyncio
from typing import Any

import argon2
import orjson
import pytest

from service.auth.passwords import Passwords
from service.platform.settings import Settings
from tests.support.api.caller import Api
from tests.support.api.outbox import Outbox
from tests.support.api.registration import AUTH, PASSWORD, login, profile_status, register
from tests.support.database import Connection, SomebodyWaits


async def test_registration_makes_a_worker_whatever_role_is_asked_for(
    api: Api, connection: Connection, outbox: Outbox
) -> None:
    answer = await register(api, role="admin")
    user = await answer.json()
    assert answer.status == 201
    assert {name: user[name] for name in ("username", "email", "full_name", "role", "status")} == {
        "username": "Anna.K",
        "email": "Anna@Example.org",
        "full_name": "Anna Köhler",
        "role": "worker",
        "status": "active",
    }
    assert user["created_at"].endswith("Z")
    assert "password" not in str(user)
    assert await outbox() == [
        ("user-registered", {"userId": user["id"], "username": "Anna.K", "email": "Anna@Example.org", "role": "worker"})
    ]
    (audit,) = await connection.fetch("select * from audit")
    assert (audit["action"], audit["entity"], str(audit["entity_id"])) == ("register", "user", user["id"])
    assert audit["event_ids"] == [await connection.fetchval("select id from outbox")]
    assert "argon2" not in audit["after"]


async def test_the_full_name_is_the_user_name_where_there_is_none(api: Api) -> None:
    answer = await api.post(
        f"{AUTH}/register", json={"username": "ben", "email": "ben@example.org", "password": PASSWORD}
    )
    assert (await answer.json())["full_name"] == "ben"


async def test_closed_registration_is_refused(api: Api, settings: Settings) -> None:
    object.__setattr__(settings, "registration", "closed")
    answer = await register(api)
    assert answer.status == 403
    assert "closed" in (await answer.json())["detail"]


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"username": "ANNA.K", "email": "b@example.org"}, "/username"),
        ({"username": "ben", "email": "anna@example.ORG"}, "/email"),
    ],
)
async def test_a_name_or_address_that_is_taken_in_any_case_conflicts(
    api: Api, outbox: Outbox, changes: dict[str, str], pointer: str
) -> None:
    await register(api)
    answer = await register(api, **changes)
    assert answer.status == 409
    assert [error["pointer"] for error in (await answer.json())["errors"]] == [pointer]
    assert len(await outbox()) == 1


BAD_FIELDS: list[tuple[dict[str, Any], list[str]]] = [
    ({"username": "ab"}, ["/username"]),
    ({"username": "a" * 51}, ["/username"]),
    ({"username": "anna k"}, ["/username"]),
    ({"username": "anna\n"}, ["/username"]),
    ({"username": "änna"}, ["/username"]),
    ({"email": "anna"}, ["/email"]),
    ({"email": "a@b@c"}, ["/email"]),
    ({"email": "a b@c"}, ["/email"]),
    ({"email": f"{'a' * 251}@b.c"}, ["/email"]),
    ({"password": "1234567"}, ["/password"]),
    ({"password": "x" * 201}, ["/password"]),
    ({"password": "12345678\0"}, ["/password"]),
    ({"full_name": " "}, ["/full_name"]),
    ({"username": None, "email": 1, "password": []}, ["/username", "/email", "/password"]),
]


async def test_each_bad_field_of_a_registration_is_named(api: Api, connection: Connection) -> None:
    for changes, pointers in BAD_FIELDS:
        answer = await register(api, **changes)
        assert answer.status == 400, changes
        assert [error["pointer"] for error in (await answer.json())["errors"]] == pointers
    assert await connection.fetchval("select count(*) from users") == 0


async def test_a_registration_takes_what_is_just_within_the_limits(api: Api) -> None:
    answer = await register(api, username="a" * 50, email=f"{'a' * 250}@b.c", password="x" * 200)
    assert answer.status == 201
    assert (await register(api, username="abc", password="x" * 8)).status == 201


WAYS_TO_SAY_WHO: list[dict[str, str]] = [
    {"username": "anna.k"},
    {"email": "anna@example.org"},
    {"username": "ANNA@example.org"},
    {"email": "Anna.K"},
]


async def test_either_key_takes_either_identifier_in_any_case(api: Api) -> None:
    await register(api)
    for who in WAYS_TO_SAY_WHO:
        answer = await api.post(f"{AUTH}/login", json={**who, "password": PASSWORD})
        assert answer.status == 200, who
        assert (await answer.json())["user"]["username"] == "Anna.K"


async def test_a_login_answers_with_user_tokens_and_session_and_writes_its_event(
    api: Api, connection: Connection, outbox: Outbox
) -> None:
    user = await (await register(api)).json()
    answer = await api.post(
        f"{AUTH}/login",
        json={"username": "Anna.K", "password": PASSWORD, "deviceInfo": {"os": "Android", "app": "2.1"}},
        headers={"User-Agent": "scanner/2.1 ½", "X-Forwarded-For": "203.0.113.9"},
    )
    body = await answer.json()
    assert sorted(body) == ["message", "refreshToken", "sessionId", "token", "user"]
    assert body["user"] == user
    assert await profile_status(api, body["token"]) == 200

    (session,) = await connection.fetch("select * from sessions")
    assert str(session["id"]) == body["sessionId"]
    assert (session["user_agent"], session["ip_address"]) == ("scanner/2.1 ½", "127.0.0.1")

    (_, (kind, data)) = await outbox()
    stamp = data.pop("timestamp")
    assert kind == "user-login"
    assert stamp.endswith("Z")
    assert list(data) == ["userId", "username", "email", "role", "userAgent", "ipAddress", "deviceInfo"]
    assert data == {
        "userId": user["id"],
        "username": "Anna.K",
        "email": "Anna@Example.org",
        "role": "worker",
        "userAgent": "scanner/2.1 ½",
        "ipAddress": "127.0.0.1",
        "deviceInfo": '{"os":"Android","app":"2.1"}',
    }
    (audit,) = await connection.fetch("select * from audit where action = 'login'")
    assert str(audit["actor_id"]) == user["id"]
    assert audit["entity_id"] == session["id"]


async def test_what_the_headers_say_of_the_device_is_kept_readable(api: Api, outbox: Outbox) -> None:
    await register(api)
    body = orjson.dumps({"username": "Anna.K", "password": PASSWORD})
    head = [
        b"POST /api/v1/auth/login HTTP/1.1",
        b"Host: localhost",
        b"Connection: close",
        b"Content-Type: application/json",
        b"Content-Length: %d" % len(body),
        b"User-Agent: latin\xff" + b"x" * 1000,
        b"X-Device-Info: scanner 7",
    ]
    # Written by hand, because a client library sends no header that is not UTF-8.
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    writer.write(b"\r\n".join(head) + b"\r\n\r\n" + body)
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    writer.close()
    await writer.wait_closed()
    data = (await outbox())[-1][1]
    assert data["userAgent"] == "latin\ufffd" + "x" * 494
    assert data["deviceInfo"] == "scanner 7"


async def test_an_unknown_user_and_a_wrong_password_get_the_same_answer(
    api: Api, connection: Connection, outbox: Outbox
) -> None:
    await register(api)
    wrong, unknown = await login(api, password="wrong password"), await login(api, identifier="nobody")
    assert (wrong.status, unknown.status) == (401, 401)
    assert await wrong.read() == await unknown.read()
    assert await connection.fetchval("select count(*) from sessions") == 0
    assert len(await outbox()) == 1


async def test_a_login_without_an_identifier_is_not_valid(api: Api) -> None:
    answer = await api.post(f"{AUTH}/login", json={"password": PASSWORD})
    assert answer.status == 400
    assert "username or email" in (await answer.json())["detail"]


async def test_a_suspended_user_cannot_sign_in_and_is_out_at_once(
    api: Api, connection: Connection, anna: dict[str, Any]
) -> None:
    await connection.execute("update users set status = 'suspended'")
    assert await profile_status(api, anna["token"]) == 401
    assert (await login(api)).status == 403
    assert (await api.post(f"{AUTH}/refresh", json={"refreshToken": anna["refreshToken"]})).status == 401


async def test_logins_at_the_same_time_renew_a_hash_of_old_parameters(api: Api, connection: Connection) -> None:
    await register(api)
    old = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
    await connection.execute("update users set password_hash = $1", old)
    answers = await asyncio.gather(*(login(api) for _ in range(3)))
    assert [answer.status for answer in answers] == [200, 200, 200]
    renewed = await connection.fetchval("select password_hash from users")
    assert argon2.extract_parameters(renewed) == argon2.extract_parameters(Passwords().nobody)
    assert (await login(api)).status == 200


@pytest.mark.parametrize("table", ["outbox", "audit"])
async def test_a_mutation_whose_commit_fails_leaves_neither_rows_nor_events(
    api: Api, connection: Connection, table: str
) -> None:
    await connection.execute(
        f"""
        create function fail() returns trigger language plpgsql as $$ begin raise exception 'no'; end $$;
        create constraint trigger fail after insert on {table} deferrable initially deferred for each row execute function fail();
        """
    )
    assert (await register(api)).status == 500
    for written in ("users", "outbox", "audit"):
        assert await connection.fetchval(f"select count(*) from {written}") == 0
    await connection.execute(f"drop trigger fail on {table}")
    assert (await register(api)).status == 201
    await connection.execute(
        f"create constraint trigger fail after insert on {table} deferrable initially deferred for each row execute function fail()"
    )
    assert (await login(api)).status == 500
    assert await connection.fetchval("select count(*) from sessions") == 0
    assert await connection.fetchval("select count(*) from outbox") == 1


async def test_a_password_changed_during_a_login_does_not_let_the_old_one_in(
    api: Api, connection: Connection, somebody_waits: SomebodyWaits
) -> None:
    """The old password was verified before the change committed. The login must not open a session
    after that commit."""
    await register(api)
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute("update users set password_hash = 'changed'")
    signing_in = asyncio.ensure_future(login(api))
    await somebody_waits()
    await transaction.commit()
    assert (await signing_in).status == 401
    assert await connection.fetchval("select count(*) from sessions") == 0
