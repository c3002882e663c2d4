"""Every error that asyncpg raises when the server ends connections is classified as the server
being away."""

import asyncio

import asyncpg

from service.platform.db import AWAY, open_pool
from tests.support.database import Connection

ROUNDS = 40
WORKERS = 6


async def test_whatever_a_terminated_backend_raises_is_taken_for_the_server_being_away(
    connection: Connection, database_url: str
) -> None:
    pool = await open_pool(database_url, application_name="to be ended", size=WORKERS)
    raised: list[BaseException] = []
    done = asyncio.Event()

    async def ask() -> None:
        while not done.is_set():
            try:
                await pool.fetchval("select count(*) from generate_series(1, 2000)")
            except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError) as error:
                raised.append(error)

    asking = [asyncio.create_task(ask()) for _ in range(WORKERS)]
    for _ in range(ROUNDS):
        before = len(raised)
        while len(raised) == before:
            await connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where datname = current_database() and application_name = 'to be ended'"
            )
    done.set()
    await asyncio.gather(*asking)
    await pool.close()
    assert [error for error in raised if not isinstance(error, AWAY)] == []
