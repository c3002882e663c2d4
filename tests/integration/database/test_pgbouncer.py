"""The programs behind PgBouncer: they work with session pooling, and refuse any other kind in one
line."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import asyncpg
import pytest

from service.platform.db import AWAY, Pool, connect, open_pool
from service.platform.errors import StartupError
from service.platform.settings import Settings
from tests.support.command_line import BOSS, PASSWORD, refusal, run, serving
from tests.support.database import Connection
from tests.support.postgres.pgbouncer import StartPooler
from tests.support.receivers.receiver import Receiver
from tests.support.relay.processes import Relays
from tests.support.rows import add_webhook
from tests.support.waiting import until

SHARING = [
    {"pool_mode": "transaction"},
    {"pool_mode": "transaction", "server_round_robin": 1},
    {"pool_mode": "transaction", "server_reset_query_always": 1},
    {"pool_mode": "statement"},
    {"pool_mode": "session", "server_reset_query": ""},
]


def name(settings: dict[str, str | int]) -> str:
    return ", ".join(f"{key} = {value}" for key, value in settings.items())


async def test_migrate_serve_and_a_relay_work_with_session_pooling(
    empty_database_url: str,
    settings: Settings,
    start_pooler: StartPooler,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """The programs go from an empty database to a delivery. Only the test's own queries bypass the
    pooler."""
    pooler = start_pooler(empty_database_url)
    monkeypatch.setenv("DATABASE_URL", pooler.url)
    code, output, errors = await run("migrate")
    assert (code, errors) == (0, "")
    assert output.startswith("applied 0001")
    code, _, errors = await run(*BOSS, "--role", "admin", given=f"{PASSWORD}\n")
    assert (code, errors) == (0, "")
    connection = await asyncpg.connect(empty_database_url)
    relays = Relays(tmp_path_factory.mktemp("relays"), connection)
    try:
        await add_webhook(connection, settings, receiver.url, ["item-created"])
        await relays.start(2)
        async with serving() as server, aiohttp.ClientSession(f"{server.address}/api/v1/") as api:
            login = {"username": "boss", "password": PASSWORD}
            async with api.post("auth/login", json=login) as answer:
                token = (await answer.json())["token"]
            headers = {"Authorization": f"Bearer {token}"}
            for number in range(10):
                async with api.post(
                    "items", json={"name": f"Drill {number}", "quantity": 5}, headers=headers
                ) as answer:
                    assert answer.status == 201, await answer.text()
        await receiver.wait_for(lambda: len(set(receiver.ids())) == 10)
        assert (await run("healthcheck", "--relay"))[0] == 0
        assert (await run("audit", "outbox_completeness"))[0] == 0
        for relay in relays.started:
            assert [line for line in relay.log() if line["level"] not in ("info", "debug")] == []
    finally:
        await relays.stop()
        await connection.close()


@pytest.mark.parametrize("sharing", SHARING, ids=name)
async def test_what_gives_a_server_session_to_several_is_seen_by_the_second_connection(
    sharing: dict[str, str | int], database_url: str, start_pooler: StartPooler
) -> None:
    url = start_pooler(database_url, **sharing).url

    async def twice() -> None:
        for _ in range(2):
            await (await connect(url, application_name="test")).close()

    with pytest.raises(StartupError, match="needs session pooling"):
        await twice()


async def test_each_command_refuses_transaction_pooling_in_one_line(
    settings: Settings, database_url: str, start_pooler: StartPooler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", start_pooler(database_url, pool_mode="transaction").url)
    for command in (["serve", "--port", "0"], ["migrate"], [*BOSS, "--role", "admin"]):
        assert "needs session pooling" in await refusal(*command, given=f"{PASSWORD}\n")
    code, _, errors = await run("relay")
    assert (code, len(errors.splitlines())) == (2, 1)
    assert "needs session pooling" in errors


@asynccontextmanager
async def others(url: str, count: int) -> AsyncIterator[None]:
    """Clients of another program, which use the pooler's server sessions now and then."""
    connections = [await asyncpg.connect(url, statement_cache_size=0) for _ in range(count)]

    async def work(connection: Connection) -> None:
        while True:
            await connection.execute("select pg_sleep(0.001)")

    tasks = [asyncio.create_task(work(connection)) for connection in connections]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for connection in connections:
            connection.terminate()


@pytest.mark.parametrize("round_robin", [0, 1])
async def test_transaction_pooling_is_seen_while_others_use_the_pooler(
    round_robin: int, database_url: str, start_pooler: StartPooler
) -> None:
    url = start_pooler(database_url, pool_mode="transaction", server_round_robin=round_robin).url
    async with others(url, 12):
        for _ in range(20):
            with pytest.raises(StartupError, match="needs session pooling"):
                await connect(url, application_name="test")


async def test_many_first_connections_at_once_are_taken_with_session_pooling(
    database_url: str, start_pooler: StartPooler
) -> None:
    """Server sessions that other clients have left are clean again."""
    url = start_pooler(database_url, default_pool_size=4).url
    for _ in range(3):
        for session in await asyncio.gather(*(connect(url, application_name="test") for _ in range(2))):
            await session.close()


async def test_a_pooler_that_comes_to_share_sessions_is_seen_and_a_right_one_is_used_again(
    database_url: str, connection: Connection, start_pooler: StartPooler
) -> None:
    pooler = start_pooler(database_url)

    async def use_both(pool: Pool) -> None:
        async with pool.acquire(), pool.acquire():
            pass

    async with await open_pool(pooler.url, application_name="to be ended", size=2) as pool:
        await use_both(pool)
        pooler.reload(pool_mode="transaction")

        async def refused() -> bool:
            # PgBouncer reads its settings a moment later, and they apply to new connections only.
            await connection.fetch(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'"
            )
            await pool.expire_connections()
            try:
                await use_both(pool)
            except AWAY as error:
                return "pool_mode = session" in str(error)
            return False

        await until(refused, "sessions that are shared are refused")
        pooler.reload(pool_mode="session")

        async def works() -> bool:
            try:
                await use_both(pool)
            except AWAY:
                return False
            return True

        # Each server session that still has a mark is refused once. PgBouncer resets it when it is
        # released.
        await until(works, "sessions of one's own are taken again")
