"""PostgreSQL is away from the API: the API logs that once, and its end, whether or not requests
come meanwhile."""

import asyncio
from collections import Counter
from collections.abc import Callable

import aiohttp
import asyncpg
import pytest

from tests.support.command_line import Server, serving
from tests.support.postgres.throwaway import Throwaway
from tests.support.trials.outages import AWAY, BACK

NEWCOMER = {"username": "ada", "email": "ada@example.org", "password": "correct horse battery staple"}


async def _ended(server: Server) -> Counter[str]:
    """How often the API has logged each event, without requests."""
    assert await server.end() == 0
    assert not [record for record in server.log if "exception" in record]
    return Counter(record["event"] for record in server.log if record["event"] != "request")


@pytest.mark.parametrize("how", [Throwaway.kill, Throwaway.shut_down_immediately], ids=["killed", "shut down"])
async def test_an_api_that_nobody_asks_says_once_that_the_database_is_away_and_once_that_it_is_back(
    throwaway: Throwaway, how: Callable[[Throwaway], None]
) -> None:
    async with serving() as server:
        how(throwaway)
        assert (await server.says(AWAY))["error"]
        await throwaway.start_again()
        await server.says(BACK)
        assert await _ended(server) == {"ready": 1, AWAY: 1, BACK: 1, "stopped": 1}


async def test_however_many_ask_meanwhile_it_is_said_once(throwaway: Throwaway) -> None:
    async with serving() as server, aiohttp.ClientSession(server.address) as client:

        async def health() -> int:
            async with client.get("/api/v1/health") as answer:
                return answer.status

        assert set(await asyncio.gather(*(health() for _ in range(20)))) == {200}
        for times in (1, 2):
            throwaway.kill()
            assert set(await asyncio.gather(*(health() for _ in range(20)))) == {503}
            await server.says(AWAY)
            assert set(await asyncio.gather(*(health() for _ in range(20)))) == {503}
            await throwaway.start_again()
            record = await server.says(BACK)
            assert "request_id" not in record, "it is not logged by a request"
            assert await health() == 200, f"after outage {times}"
        assert await _ended(server) == {"ready": 1, AWAY: 2, BACK: 2, "stopped": 1}


async def test_a_server_that_takes_no_writes_is_away_until_it_does(throwaway: Throwaway) -> None:
    admin = await asyncpg.connect(throwaway.url)

    async def read_only(value: str) -> None:
        await admin.execute("set default_transaction_read_only = off")
        await admin.execute(f"alter system set default_transaction_read_only = {value}")
        await admin.execute("select pg_reload_conf()")
        observer = await asyncpg.connect(throwaway.url)
        while await observer.fetchval("show default_transaction_read_only") != value:
            await asyncio.sleep(0.01)
        await observer.close()

    async with serving() as server, aiohttp.ClientSession(server.address) as client:
        await read_only("on")
        for _ in range(3):
            async with client.post("/api/v1/auth/register", json=NEWCOMER) as answer:
                assert answer.status == 503
            async with client.get("/api/v1/health") as answer:
                assert answer.status == 200
        assert (await server.says(AWAY))["path"] == "/api/v1/auth/register"
        await read_only("off")
        await server.says(BACK)
        async with client.post("/api/v1/auth/register", json=NEWCOMER) as answer:
            assert answer.status == 201
        assert await _ended(server) == {"ready": 1, AWAY: 1, BACK: 1, "stopped": 1}
    await admin.close()
