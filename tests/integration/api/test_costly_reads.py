"""Few costly reads are admitted at a time, before they take a connection. Ordinary requests and
health checks go on meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import asyncpg
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from service.api import admission, counts
from service.api.admission import ADMISSION, USER_READS, Admission, reads_at_once
from service.api.call import POOL
from service.inventory import lists
from service.platform.errors import Unavailable
from service.platform.settings import Settings
from service.webhooks import stream
from tests.support.api.caller import Answer, Api, Caller, SignUp
from tests.support.api.webhooks import make_webhook
from tests.support.database import Connection

HELD = """select count(*) from pg_stat_activity
           where datname = current_database() and application_name = 'jossiedb service' and wait_event_type = 'Lock'"""
# In seconds. A test that waits longer has failed.
PATIENCE = 60
Held = Callable[[], Awaitable[int]]


@pytest.fixture
async def admins(api: Api, sign_up: SignUp) -> list[Caller]:
    return [Caller(api, await sign_up("admin")) for _ in range(4)]


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests that are held up are not given up meanwhile."""
    monkeypatch.setattr(admission, "WAIT_SECONDS", PATIENCE)
    monkeypatch.setattr(admission, "STATEMENT_MS", PATIENCE * 1000)


@pytest.fixture
async def audit_locked(another_connection: Connection) -> AsyncIterator[None]:
    """Every read of the audit trail waits."""
    async with another_connection.transaction():
        await another_connection.execute("lock table audit in access exclusive mode")
        yield


@pytest.fixture
def held(connection: Connection) -> Held:
    async def held() -> int:
        count: int = await connection.fetchval(HELD)
        return count

    return held


async def _until_held(held: Held, count: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while await held() < count:
            await asyncio.sleep(0.01)


def _app(caller: Caller) -> web.Application:
    server = caller.api.server
    assert isinstance(server, TestServer)
    return server.app


async def _end(*tasks: "asyncio.Task[Answer]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def test_twelve_costly_reads_leave_the_pool_to_ordinary_requests(
    admins: list[Caller], patient: None, another_connection: Connection, settings: Settings, held: Held
) -> None:
    at_once = reads_at_once(settings.jossiedb_pool_size)
    async with another_connection.transaction():
        await another_connection.execute("lock table audit in access exclusive mode")
        reads = [asyncio.create_task(admin.get("/audit")) for admin in admins for _ in range(3)]
        assert len(reads) > settings.jossiedb_pool_size
        await _until_held(held, at_once)
        async with asyncio.timeout(PATIENCE):
            answers = await asyncio.gather(*(admins[0].get("/items") for _ in range(20)))
        assert {answer.status for answer in answers} == {200}
        assert not any(read.done() for read in reads)
        assert await held() == at_once
    # The waiting requests are admitted one after the other.
    assert {(await read).status for read in reads} == {200}


async def test_a_user_with_too_many_is_told_429_and_others_are_admitted(
    admins: list[Caller], patient: None, audit_locked: None, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    greedy, other = admins[:2]
    reads = [asyncio.create_task(greedy.get("/audit")) for _ in range(USER_READS)]
    await _until_held(held, USER_READS)
    monkeypatch.setattr(admission, "WAIT_SECONDS", 0.01)
    refused = await greedy.get("/audit")
    assert (refused.status, refused.headers["Retry-After"]) == (429, "2")
    assert (await other.get("/auth/session-stats")).status == 200
    await _end(*reads)


async def test_when_all_places_are_taken_by_others_the_answer_is_503(
    admins: list[Caller],
    patient: None,
    audit_locked: None,
    settings: Settings,
    held: Held,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at_once = reads_at_once(settings.jossiedb_pool_size)
    reads = [asyncio.create_task(admin.get("/audit")) for admin in admins[:at_once]]
    await _until_held(held, at_once)
    monkeypatch.setattr(admission, "WAIT_SECONDS", 0.01)
    refused = await admins[-1].get("/audit")
    assert (refused.status, refused.headers["Retry-After"]) == (503, "2")
    # The database is well.
    assert (await admins[-1].get("/health")).status == 200
    await _end(*reads)


async def test_a_place_is_free_again_however_a_read_ended(pool: asyncpg.Pool, admins: list[Caller]) -> None:
    admission_of_one, user = Admission(1), admins[0].token.user_id
    for error in (ValueError, asyncio.CancelledError):
        with pytest.raises(error):
            async with admission_of_one.costly(pool, user):
                raise error
    async with asyncio.timeout(PATIENCE), admission_of_one.costly(pool, user) as unit:
        assert await unit.fetchval("select 1") == 1


async def test_a_costly_statement_is_ended_after_its_time_and_the_limit_ends_with_it(
    pool: asyncpg.Pool, admins: list[Caller], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await pool.fetchval("show statement_timeout")
    monkeypatch.setattr(admission, "STATEMENT_MS", 20)
    with pytest.raises(Unavailable) as refusal:
        async with Admission(1).costly(pool, admins[0].token.user_id) as unit:
            await unit.execute("select pg_sleep(60)")
    assert refusal.value.retry_after == 2
    assert await pool.fetchval("show statement_timeout") == before != "0"


async def test_a_read_that_takes_too_long_is_told_so_and_the_database_is_not_taken_for_away(
    admins: list[Caller], audit_locked: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(admission, "STATEMENT_MS", 50)
    answer = await admins[0].get("/audit")
    assert answer.status == 503
    assert "ask for less" in answer.body["error"]
    assert "Retry-After" in answer.headers
    assert "the database is away" not in capsys.readouterr().out


async def test_the_stream_asks_for_admission_only_when_it_reads_from_far_back(
    admins: list[Caller], connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = admins[0]
    webhook_id = (await make_webhook(owner))["id"]
    monkeypatch.setattr(stream, "NEAR", 5)
    await connection.execute(
        """insert into events (position, id, seq, type, data, occurred_at, audience, location_ids, user_ids, deliveries)
           select n, uuidv7(), n, 'item-created', '{}', now(), 'inventory', '{}', '{}', 0 from generate_series(1, 10) as n"""
    )
    await connection.execute("update log_head set position = 10")
    app = _app(owner)
    monkeypatch.setattr(admission, "WAIT_SECONDS", 0.01)
    async with asyncio.timeout(PATIENCE):
        async with (
            app[ADMISSION].costly(app[POOL], owner.token.user_id),
            app[ADMISSION].costly(app[POOL], owner.token.user_id),
        ):
            refused = await owner.get(f"/webhooks/{webhook_id}/stream", after="earliest")
            near = await owner.get(f"/webhooks/{webhook_id}/stream", after="5")
            waited = await owner.get(f"/webhooks/{webhook_id}/stream", after="10", wait="1")
        far = await owner.get(f"/webhooks/{webhook_id}/stream", after="earliest")
    assert (refused.status, near.status, waited.status) == (429, 200, 200)
    assert len(far.body["events"]) == 10


async def test_a_list_of_items_asks_for_admission_only_where_all_that_match_are_put_in_order(
    admins: list[Caller], monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = admins[0]
    tools = (await reader.make("/categories", name="Tools"))["id"]
    here = (await reader.make("/locations", name="Here"))["id"]
    for name in ("other", "drill", "saw"):
        fields = {} if name == "other" else {"category_id": tools, "location_id": here}
        await reader.make("/items", name=name, **fields)
    # The first part of the index that is read ends before the items of the category begin.
    monkeypatch.setattr(lists, "STRETCH", 1)
    monkeypatch.setattr(admission, "WAIT_SECONDS", 0.01)
    app = _app(reader)
    asked = {"category_id": tools}, {"location_id": here, "sort": "-name"}
    async with asyncio.timeout(PATIENCE):
        async with (
            app[ADMISSION].costly(app[POOL], reader.token.user_id),
            app[ADMISSION].costly(app[POOL], reader.token.user_id),
        ):
            refused = [await reader.get("/items", **query) for query in asked]
            both = await reader.get("/items", category_id=tools, location_id=here)
            plain = await reader.get("/items")
        # A request with several filters is admitted once as a whole. Otherwise it would wait for
        # itself.
        monkeypatch.setattr(admission, "USER_READS", 1)
        answers = [await admins[1].get("/items", **query, status="available") for query in asked]
        answers += [await admins[1].get("/items", **query) for query in asked]
    assert [answer.status for answer in refused] == [429, 429]
    assert both.status == 429
    assert (plain.status, len(plain.body)) == (200, 3)
    assert [[item["name"] for item in answer.body] for answer in answers] == [["drill", "saw"], ["saw", "drill"]] * 2


async def test_imports_run_one_at_a_time_and_take_no_place_of_the_costly_reads(
    admins: list[Caller], api: Api, sign_up: SignUp, patient: None, another_connection: Connection, held: Held
) -> None:
    foreman = Caller(api, await sign_up("foreman"))
    async with another_connection.transaction():
        await another_connection.execute("lock table items in exclusive mode")
        imports = [
            asyncio.create_task(_import(admin, f"{number} of {admin.token.username}"))
            for admin in admins
            for number in range(2)
        ]
        await _until_held(held, 1)
        async with asyncio.timeout(PATIENCE):
            # A user who imports makes two other costly requests as well.
            answers = await asyncio.gather(
                foreman.get("/items"), *(admins[0].get("/items", search="pump") for _ in range(USER_READS))
            )
        assert [answer.status for answer in answers] == [200] * 3
        assert await held() == 1
    assert [(await one).status for one in imports] == [200] * len(imports)


async def test_an_import_beside_another_is_told_when_to_come_again(
    admins: list[Caller], patient: None, another_connection: Connection, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with another_connection.transaction():
        await another_connection.execute("lock table items in exclusive mode")
        running = asyncio.create_task(_import(admins[0], "pump"))
        await _until_held(held, 1)
        monkeypatch.setattr(admission, "WAIT_SECONDS", 0.01)
        refused = await _import(admins[1], "hose")
        assert (refused.status, refused.headers["Retry-After"]) == (503, "10")
        assert "another import" in refused.body["detail"]
    assert (await running).status == 200
    assert (await _import(admins[1], "hose")).status == 200


async def _import(who: Caller, name: str) -> Answer:
    return await who.sending(Content_Type="text/csv").ask("POST", "/items/import", f"name\n{name}\n".encode())


async def test_an_export_that_is_under_way_waits_for_its_place_longer_than_one_that_begins(
    admins: list[Caller], connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await connection.execute("insert into items (name) select 'x' from generate_series(1, 5)")
    monkeypatch.setattr(lists, "STRETCH", 2)
    monkeypatch.setattr(counts, "MOST", 1)
    monkeypatch.setattr(admission, "WAIT_SECONDS", 0.01)
    app, user_id, others = _app(admins[0]), admins[0].token.user_id, []
    by_ids = lists.by_ids

    async def other(taken: asyncio.Event) -> None:
        async with app[ADMISSION].costly(app[POOL], user_id), app[ADMISSION].costly(app[POOL], user_id):
            taken.set()
            await asyncio.sleep(0.3)

    async def by_ids_with_others(*arguments: Any) -> Any:
        taken = asyncio.Event()
        others.append(asyncio.create_task(other(taken)))
        await taken.wait()
        return await by_ids(*arguments)

    monkeypatch.setattr(lists, "by_ids", by_ids_with_others)
    exported = await admins[0].get("/items/export")
    await asyncio.gather(*others)
    assert len(others) == 3
    assert exported.body.count("\r\n") == 6


async def test_health_is_answered_while_every_connection_of_the_pool_is_taken(
    admins: list[Caller], another_connection: Connection, settings: Settings, held: Held
) -> None:
    item = await admins[0].make("/items", name="a")
    async with another_connection.transaction():
        await another_connection.execute("lock table items in access exclusive mode")
        waiting = [
            asyncio.create_task(admins[0].get(f"/items/{item['id']}")) for _ in range(settings.jossiedb_pool_size + 2)
        ]
        await _until_held(held, settings.jossiedb_pool_size)
        async with asyncio.timeout(PATIENCE):
            answers = await asyncio.gather(*(admins[0].get("/health") for _ in range(30)))
        assert {answer.status for answer in answers} == {200}
    assert {(await task).status for task in waiting} == {200}


async def test_every_pooled_statement_of_the_api_has_a_time_limit(api: Api) -> None:
    server = api.server
    assert isinstance(server, TestServer)
    limits = [await server.app[POOL].fetchval("show statement_timeout") for _ in range(2)]
    # The limit also holds when a connection is used a second time.
    assert limits == ["15s", "15s"]
