"""Idempotency-Key: a request that is sent twice is executed once and answered twice."""

import asyncio
from typing import Any

import asyncpg
import pytest
from aiohttp.test_utils import TestClient, TestServer
from pydantic import SecretStr

from relay.lead.retention import BATCH
from service.platform.db import open_pool
from service.platform.one_connection import OneConnection
from service.platform.settings import Settings
from service.platform.vault import new_key
from service.server.app import make_app
from tests.support.api.caller import Answer, Api, Caller, SignUp
from tests.support.api.outbox import Outbox
from tests.support.database import Connection, SomebodyWaits
from tests.support.relay.parts import housekeeping


def _replayed(answer: Answer) -> bool:
    return "Idempotency-Replayed" in answer.headers


async def _items(connection: Connection) -> Any:
    return await connection.fetchval("select count(*) from items")


async def test_the_same_request_again_is_given_the_first_answer_and_does_nothing(
    admin: Caller, connection: Connection, outbox: Outbox
) -> None:
    keyed = admin.sending(Idempotency_Key="a-key")
    body = {"name": "Pump ½ 漢字 \u2028", "quantity": 9, "attributes": {"a": [1, None]}}
    first, again = await keyed.post("/items", body), await keyed.post("/items", body)

    assert (first.status, again.status) == (201, 201)
    assert again.body == first.body
    assert again.headers["ETag"] == first.headers["ETag"]
    assert again.headers["Content-Type"] == first.headers["Content-Type"]
    assert again.headers["X-Request-ID"] != first.headers["X-Request-ID"]
    assert (_replayed(first), again.headers["Idempotency-Replayed"]) == (False, "true")
    assert await _items(connection) == 1
    assert len(await outbox()) == 1
    assert await connection.fetchval("select count(*) from audit") == 1


async def test_a_secret_that_was_answered_is_answered_again_and_is_not_readable_in_the_table(
    admin: Caller, connection: Connection
) -> None:
    body = {"url": "https://example.org/hook", "events": ["item-created"]}
    first, again = [await admin.sending(Idempotency_Key="k").post("/webhooks", body) for _ in range(2)]
    assert first.body == again.body
    sealed = await connection.fetchval("select sealed from idempotent_answers")
    assert first.body["webhook"]["secret"].encode() not in sealed
    assert b"example.org" not in sealed


@pytest.mark.parametrize(
    ("path", "body"),
    [("/items", {"name": "B"}), ("/items?_x=1", {"name": "A"}), ("/locations", {"name": "A"})],
)
async def test_a_key_that_was_used_for_something_else_is_refused(
    admin: Caller, connection: Connection, path: str, body: dict[str, str]
) -> None:
    keyed = admin.sending(Idempotency_Key="k")
    await keyed.make("/items", name="A")
    assert (await keyed.post(path, body)).status == 422
    assert await _items(connection) == 1


async def test_each_user_has_keys_of_their_own(
    admin: Caller, api: Api, sign_up: SignUp, connection: Connection
) -> None:
    other = Caller(api, await sign_up("admin"))
    for caller, name in ((admin, "A"), (other, "B"), (admin.sending(Idempotency_Key="other"), "C")):
        answer = await caller.sending(**{"Idempotency-Key": "k", **caller.headers}).post("/items", {"name": name})
        assert (answer.status, _replayed(answer)) == (201, False)
    assert await _items(connection) == 3


@pytest.mark.parametrize("key", ["", "with space", "ümlaut", "x" * 256, "tab\t."])
async def test_a_key_that_is_not_visible_ascii_is_refused(admin: Caller, connection: Connection, key: str) -> None:
    answer = await admin.sending(Idempotency_Key=key).post("/items", {"name": "A"})
    assert (answer.status, answer.headers["Content-Type"]) == (400, "application/problem+json")
    assert await _items(connection) == 0


async def test_an_error_is_not_kept_so_the_request_can_be_tried_again(admin: Caller, connection: Connection) -> None:
    keyed = admin.sending(Idempotency_Key="k")
    taken = await admin.make("/locations", name="Yard")
    assert (await keyed.post("/locations", {"name": "yard"})).status == 409
    assert (await keyed.post("/locations", {"name": ""})).status == 400
    assert await connection.fetchval("select count(*) from idempotent_answers") == 0
    await admin.delete(f"/locations/{taken['id']}")
    answer = await keyed.post("/locations", {"name": "yard"})
    assert (answer.status, _replayed(answer)) == (201, False)


async def test_a_request_whose_twin_still_runs_is_told_so(
    admin: Caller, connection: Connection, somebody_waits: SomebodyWaits
) -> None:
    keyed = admin.sending(Idempotency_Key="k")
    async with connection.transaction():
        await connection.execute("lock table audit in exclusive mode")
        first = asyncio.create_task(keyed.post("/items", {"name": "A"}))
        await somebody_waits()
        twin = await keyed.post("/items", {"name": "A"})
        assert (twin.status, twin.headers["Retry-After"]) == (409, "1")
    assert (await first).status == 201
    assert _replayed(await keyed.post("/items", {"name": "A"}))


async def test_of_many_at_once_one_is_done(admin: Caller, connection: Connection) -> None:
    keyed = admin.sending(Idempotency_Key="k")
    answers = await asyncio.gather(*(keyed.post("/items", {"name": "A"}) for _ in range(12)))
    assert {answer.status for answer in answers} <= {201, 409}
    assert len({answer.body["id"] for answer in answers if answer.status == 201}) == 1
    assert sum(answer.status == 201 and not _replayed(answer) for answer in answers) == 1
    assert await _items(connection) == 1


async def test_a_commit_that_fails_leaves_neither_the_change_nor_an_answer(
    admin: Caller, connection: Connection, outbox: Outbox
) -> None:
    await connection.execute(
        """create function refuse() returns trigger language plpgsql as
           $$ begin raise exception 'no' using errcode = 'serialization_failure'; end $$;
           create constraint trigger refuse after insert on items deferrable initially deferred
           for each row execute function refuse()"""
    )
    keyed = admin.sending(Idempotency_Key="k")
    assert (await keyed.post("/items", {"name": "A"})).status == 503
    assert await _items(connection) == 0
    assert await outbox() == []
    assert await connection.fetchval("select count(*) from idempotent_answers") == 0
    await connection.execute("drop trigger refuse on items")
    answer = await keyed.post("/items", {"name": "A"})
    assert (answer.status, _replayed(answer)) == (201, False)


async def test_a_request_with_a_key_needs_one_connection_only(
    settings: Settings, database_url: str, sign_up: SignUp
) -> None:
    small = settings.model_copy(update={"jossiedb_pool_size": 1})
    async with TestClient(TestServer(make_app(small, database_url))) as api, asyncio.timeout(30):
        keyed = Caller(api, await sign_up("admin")).sending(Idempotency_Key="k")
        location = await keyed.make("/locations", name="A")
        foreman = await sign_up("foreman")
        added = await keyed.sending(Idempotency_Key="l").post(
            f"/locations/{location['id']}/foremen", {"user_id": str(foreman.user_id)}
        )
        assert (added.status, added.body["foremen"]) == (200, [str(foreman.user_id)])


async def test_what_a_handler_does_on_several_connections_is_one_transaction(
    connection: Connection, database_url: str
) -> None:
    writer = await asyncpg.connect(database_url)
    whole = writer.transaction()
    await whole.start()
    one = OneConnection(writer)
    async with one.acquire() as first, first.transaction():
        await first.execute("insert into locations (name) values ('kept')")
    with pytest.raises(asyncpg.UniqueViolationError):
        async with one.acquire() as second, second.transaction(isolation="repeatable_read", readonly=True):
            await second.execute("insert into locations (name) values ('undone'), ('kept')")
    assert await one.fetchval("select array_agg(name) from locations") == ["kept"]
    assert await connection.fetchval("select count(*) from locations") == 0
    await whole.commit()
    await writer.close()
    assert await connection.fetchval("select array_agg(name) from locations") == ["kept"]


async def test_an_answer_is_given_again_as_long_as_it_is_kept(
    admin: Caller, connection: Connection, database_url: str, settings: Settings
) -> None:
    keyed = admin.sending(Idempotency_Key="k")
    await keyed.make("/items", name="A")
    await connection.execute("update idempotent_answers set created_at = now() - interval '23 hours 59 minutes'")
    assert _replayed(await keyed.post("/items", {"name": "A"}))
    # Only housekeeping removes old answers. It alone knows whether the clock can be trusted.
    await connection.execute("update idempotent_answers set created_at = now() - interval '240 hours'")
    assert _replayed(await keyed.post("/items", {"name": "A"}))
    assert await _items(connection) == 1

    await connection.execute(
        """insert into idempotent_answers (user_id, key_hash, sealed, created_at)
           select uuidv7(), sha256(n::text::bytea), '', now() - interval '25 hours' from generate_series(1, $1) as n""",
        2 * BATCH + 1,
    )
    pool = await open_pool(database_url, application_name="test", size=1)
    try:
        await housekeeping(pool, settings).once()
    finally:
        await pool.close()
    assert await connection.fetchval("select count(*) from idempotent_answers") == 0
    assert not _replayed(await keyed.post("/items", {"name": "A"}))
    assert await _items(connection) == 2
    assert _replayed(await keyed.post("/items", {"name": "A"}))


async def test_an_answer_that_cannot_be_opened_is_not_done_again(
    admin: Caller, settings: Settings, database_url: str, connection: Connection
) -> None:
    await admin.sending(Idempotency_Key="k").make("/items", name="A")
    other = settings.model_copy(update={"webhook_secret_keys": SecretStr(new_key())})
    async with TestClient(TestServer(make_app(other, database_url))) as api:
        answer = await Caller(api, admin.token).sending(Idempotency_Key="k").post("/items", {"name": "A"})
    assert answer.status == 503
    assert "WEBHOOK_SECRET_KEYS" in answer.body["detail"]
    assert await _items(connection) == 1


async def test_sign_in_routes_keep_nothing(admin: Caller, connection: Connection) -> None:
    new = {"username": "newcomer", "email": "n@example.org", "full_name": "N", "password": "correct horse battery"}
    keyed = admin.sending(Idempotency_Key="k")
    assert (await keyed.post("/auth/register", new)).status == 201
    assert (await keyed.post("/auth/logout", None)).status == 200
    assert await connection.fetchval("select count(*) from idempotent_answers") == 0


class TestOfARouteThatWaits:
    """POST /webhooks/:id/test commits before it waits for a relay. The test plays the relay."""

    @pytest.fixture
    async def path(self, admin: Caller) -> str:
        created = await admin.make("/webhooks", url="https://example.org/hook", events=["item-created"], timeout=7000)
        return f"/webhooks/{created['webhook']['id']}/test"

    async def _finish(self, connection: Connection) -> None:
        async with asyncio.timeout(30):
            while (
                await connection.fetchval(
                    "update webhook_tests set finished_at = now(), status = 200 where finished_at is null returning 1"
                )
                is None
            ):
                await asyncio.sleep(0.01)

    async def test_it_is_done_once_and_answered_twice(self, admin: Caller, connection: Connection, path: str) -> None:
        keyed = admin.sending(Idempotency_Key="k")
        first = asyncio.create_task(keyed.post(path, None))
        async with asyncio.timeout(30):
            while not await connection.fetchval("select exists (select from webhook_tests)"):
                await asyncio.sleep(0.01)
        assert (await keyed.post(path, None)).status == 409
        await self._finish(connection)
        again = await keyed.post(path, None) if (await first).status == 200 else None
        assert again is not None
        assert (again.body, _replayed(again)) == ((await first).body, True)
        assert await connection.fetchval("select count(*) from webhook_tests") == 1

    async def test_an_error_frees_the_key(self, admin: Caller, connection: Connection, path: str) -> None:
        keyed = admin.sending(Idempotency_Key="k")
        assert (await keyed.post("/webhooks/01890000-0000-7000-8000-000000000000/test", None)).status == 404
        assert await connection.fetchval("select count(*) from idempotent_answers") == 0

    async def test_what_a_dead_process_reserved_is_free_after_a_while(
        self, admin: Caller, connection: Connection, path: str
    ) -> None:
        keyed = admin.sending(Idempotency_Key="k")
        first = asyncio.create_task(keyed.post(path, None))
        await self._finish(connection)
        await first
        # The state that a process leaves when it dies.
        await connection.execute("update idempotent_answers set running_until = now() - interval '1 second'")
        second = asyncio.create_task(keyed.post(path, None))
        await self._finish(connection)
        assert ((await second).status, _replayed(await second)) == (200, False)
        assert _replayed(await keyed.post(path, None))
