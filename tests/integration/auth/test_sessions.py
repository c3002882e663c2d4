"""Sessions and their tokens, over HTTP."""

import asyncio
from typing import Any
from uuid import UUID

import orjson

from service.auth.tokens import Tokens
from service.platform.settings import Settings
from tests.support.api.caller import Api, SignUp
from tests.support.api.outbox import Outbox
from tests.support.api.registration import AUTH, bearer, login, profile_status
from tests.support.database import Connection


async def test_the_profile_is_the_users_as_it_is_now(api: Api, connection: Connection, anna: dict[str, Any]) -> None:
    await connection.execute("update users set role = 'foreman', full_name = 'Anna K.'")
    profile = await (await api.get(f"{AUTH}/profile", headers=bearer(anna["token"]))).json()
    assert (profile["role"], profile["full_name"]) == ("foreman", "Anna K.")


async def test_verify_session_says_whose_session_it_is_and_how_long(api: Api, anna: dict[str, Any]) -> None:
    answer = await api.get(f"{AUTH}/verify-session", headers=bearer(anna["token"]))
    body = await answer.json()
    assert body["valid"] is True
    assert body["user"] == anna["user"]
    assert body["sessionId"] == anna["sessionId"]
    assert body["expiresAt"].endswith("Z")


NO_TOKEN = [
    ({}, "a token is needed"),
    ({"Authorization": "Basic YTpi"}, "must be: Bearer"),
    ({"Authorization": "Bearer"}, "must be: Bearer"),
    ({"Authorization": "Bearer a.b.c"}, "the token is not valid"),
]


async def test_a_request_without_a_good_token_is_told_why(api: Api) -> None:
    for headers, detail in NO_TOKEN:
        answer = await api.get(f"{AUTH}/profile", headers=headers)
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert detail in (await answer.json())["detail"]


async def test_a_session_that_has_run_out_says_so(api: Api, connection: Connection, anna: dict[str, Any]) -> None:
    await connection.execute(
        "update sessions set created_at = now() - interval '2 days', expires_at = now() - interval '1 day'"
    )
    answer = await api.get(f"{AUTH}/profile", headers=bearer(anna["token"]))
    assert answer.status == 401
    assert "expired" in (await answer.json())["detail"]


async def test_a_token_of_a_session_is_not_good_for_another_user(api: Api, settings: Settings, sign_up: SignUp) -> None:
    one, other = await sign_up("admin"), await sign_up("worker")
    mixed = Tokens.of(settings).access(one.user_id, other.session_id)
    assert await profile_status(api, mixed) == 401


async def test_a_logout_ends_its_session_at_once_and_no_other(
    api: Api, connection: Connection, outbox: Outbox, anna: dict[str, Any]
) -> None:
    other = await (await login(api)).json()
    answer = await api.post(f"{AUTH}/logout", headers=bearer(anna["token"]))
    assert answer.status == 200
    assert await profile_status(api, anna["token"]) == 401
    assert await profile_status(api, other["token"]) == 200
    assert (await api.post(f"{AUTH}/refresh", json={"refreshToken": anna["refreshToken"]})).status == 401
    kind, data = (await outbox())[-1]
    assert kind == "user-logout"
    assert list(data) == ["userId", "username", "email", "role", "timestamp"]
    reason = await connection.fetchval("select end_reason from sessions where id = $1", UUID(anna["sessionId"]))
    assert reason == "logout"


async def test_logging_out_twice_at_once_writes_one_event(api: Api, outbox: Outbox, anna: dict[str, Any]) -> None:
    answers = await asyncio.gather(*(api.post(f"{AUTH}/logout", headers=bearer(anna["token"])) for _ in range(4)))
    assert sorted(answer.status for answer in answers) == [200, 401, 401, 401]
    assert [kind for kind, _ in await outbox()].count("user-logout") == 1


async def test_logout_all_ends_each_session_with_an_event_of_its_own(
    api: Api, connection: Connection, outbox: Outbox, sign_up: SignUp, anna: dict[str, Any]
) -> None:
    stranger = await sign_up("worker")
    others = [await (await login(api)).json() for _ in range(2)]
    answer = await api.post(f"{AUTH}/logout-all", headers=bearer(anna["token"]))
    assert (await answer.json()) == {"message": "signed out of 3 sessions"}
    assert [await profile_status(api, one["token"]) for one in (anna, *others)] == [401, 401, 401]
    assert await profile_status(api, stranger) == 200
    assert [kind for kind, _ in await outbox()].count("user-logout") == 3
    (audit,) = await connection.fetch("select * from audit where action = 'logout-all'")
    assert len(audit["event_ids"]) == 3
    assert len(orjson.loads(audit["before"])["sessions"]) == 3


async def test_a_refresh_gives_new_tokens_of_the_same_session(
    api: Api, connection: Connection, outbox: Outbox, anna: dict[str, Any]
) -> None:
    answer = await api.post(f"{AUTH}/refresh", json={"refreshToken": anna["refreshToken"]})
    renewed = await answer.json()
    assert answer.status == 200
    assert renewed["sessionId"] == anna["sessionId"]
    assert renewed["refreshToken"] != anna["refreshToken"]
    assert await profile_status(api, renewed["token"]) == 200
    assert (await outbox())[-1] == (
        "session-refreshed",
        {
            "userId": anna["user"]["id"],
            "username": "Anna.K",
            "email": "Anna@Example.org",
            "role": "worker",
            "sessionId": anna["sessionId"],
        },
    )
    again = await api.post(f"{AUTH}/refresh", json={"refreshToken": renewed["refreshToken"]})
    assert again.status == 200
    assert await connection.fetchval("select refresh_generation from sessions") == 3


async def test_a_refresh_token_used_twice_ends_its_session(
    api: Api, connection: Connection, anna: dict[str, Any]
) -> None:
    renewed = await (await api.post(f"{AUTH}/refresh", json={"refreshToken": anna["refreshToken"]})).json()
    answer = await api.post(f"{AUTH}/refresh", json={"refreshToken": anna["refreshToken"]})
    assert answer.status == 401
    assert "used before" in (await answer.json())["detail"]
    assert await profile_status(api, renewed["token"]) == 401
    assert (await api.post(f"{AUTH}/refresh", json={"refreshToken": renewed["refreshToken"]})).status == 401
    assert await connection.fetchval("select end_reason from sessions") == "refresh-reuse"
    (audit,) = await connection.fetch("select after, event_ids from audit order by at desc limit 1")
    assert orjson.loads(audit["after"]) == {"ended": "refresh-reuse"}
    assert len(audit["event_ids"]) == 1


async def test_of_refreshes_at_the_same_time_at_most_one_succeeds(
    api: Api, connection: Connection, outbox: Outbox, anna: dict[str, Any]
) -> None:
    answers = await asyncio.gather(
        *(api.post(f"{AUTH}/refresh", json={"refreshToken": anna["refreshToken"]}) for _ in range(5))
    )
    assert sorted(answer.status for answer in answers) == [200, 401, 401, 401, 401]
    assert await connection.fetchval("select end_reason from sessions") == "refresh-reuse"
    kinds = [kind for kind, _ in await outbox()]
    assert (kinds.count("session-refreshed"), kinds.count("user-logout")) == (1, 1)


async def test_an_access_token_is_no_refresh_token_nor_the_other_way_round(api: Api, anna: dict[str, Any]) -> None:
    assert (await api.post(f"{AUTH}/refresh", json={"refreshToken": anna["token"]})).status == 401
    assert await profile_status(api, anna["refreshToken"]) == 401
