"""PostgreSQL is killed, restarted, full, read-only, or does not answer commits. Relays wait, log
that once, and go on by themselves."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from tests.support.postgres.throwaway import Throwaway
from tests.support.trials.outages import AWAY, BACK, all_logged, some_arrive
from tests.support.trials.trial import HowOften, StartTrial, Trial


async def _outages(trial: Trial, server: Throwaway, times: int, *, kill: bool) -> None:
    await trial.relays.start(2)
    trial.load.start()
    for outage in range(1, times + 1):
        await some_arrive(trial)
        await trial.disturb_all()
        await asyncio.sleep(random.random() * 0.3)
        trial.times += 1
        if kill:
            server.kill()
        else:
            server.shut_down_immediately()
        await all_logged(trial, AWAY, outage)
        await server.start_again()
        await trial.recovers()
        await all_logged(trial, BACK, outage)
    assert not [line for relay in trial.relays.started for line in relay.log() if "exception" in line]


async def test_postgres_killed(start_own_trial: StartTrial, throwaway: Throwaway, how_often: HowOften) -> None:
    async with start_own_trial("kill -9 of PostgreSQL") as trial:
        await _outages(trial, throwaway, how_often(10, 1), kill=True)


@pytest.mark.chaos
async def test_postgres_shut_down_immediately(
    start_own_trial: StartTrial, throwaway: Throwaway, how_often: HowOften
) -> None:
    async with start_own_trial("immediate shutdown of PostgreSQL") as trial:
        await _outages(trial, throwaway, how_often(10, 1), kill=False)


async def test_every_backend_terminated(start_trial: StartTrial, how_often: HowOften) -> None:
    async with start_trial("every backend terminated") as trial:
        await trial.relays.start(2)
        trial.load.start()
        for _ in range(how_often(20, 2)):
            await some_arrive(trial)
            await trial.disturb_all()
            trial.times += 1
            await trial.db.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'"
            )
            await trial.recovers()


async def _set(trial: Trial, name: str, value: str) -> None:
    await trial.db.execute(f"alter system set {name} = '{value}'")
    await trial.db.execute("select pg_reload_conf()")


@pytest.mark.chaos
async def test_a_server_that_turns_read_only(start_own_trial: StartTrial) -> None:
    async with start_own_trial("read-only server") as trial:
        await trial.relays.start(2)
        trial.load.start()
        await some_arrive(trial)
        await trial.disturb_all()
        trial.times = 1
        await _set(trial, "default_transaction_read_only", "on")
        await all_logged(trial, AWAY, 1)
        # This session must be allowed to write again, to change the setting. It keeps this setting.
        await trial.db.execute("set default_transaction_read_only = off")
        await _set(trial, "default_transaction_read_only", "off")
        await trial.recovers()
        await all_logged(trial, BACK, 1)


@asynccontextmanager
async def _all_connections(url: str) -> AsyncIterator[list["asyncpg.Connection[asyncpg.Record]"]]:
    held: list[asyncpg.Connection[asyncpg.Record]] = []

    async def take() -> None:
        # Takes every connection as soon as it is free.
        while True:
            try:
                held.append(await asyncpg.connect(url))
            except (asyncpg.PostgresError, OSError):
                await asyncio.sleep(0.01)

    taking = asyncio.create_task(take())
    try:
        yield held
    finally:
        taking.cancel()
        for connection in held:
            connection.terminate()


@pytest.mark.chaos
async def test_a_server_without_a_free_connection(start_own_trial: StartTrial, throwaway: Throwaway) -> None:
    async with start_own_trial("no connection left") as trial:
        await trial.relays.start(2)
        trial.load.start()
        await some_arrive(trial)
        await trial.disturb_all()
        trial.times = 1
        async with _all_connections(throwaway.url):
            # A relay that loses its connection does not get another.
            await trial.db.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where datname = current_database() and application_name like 'jossiedb relay%'"
            )
            await all_logged(trial, AWAY, 1)
        await trial.recovers()
        await all_logged(trial, BACK, 1)


@pytest.mark.chaos
async def test_commits_that_hang(start_own_trial: StartTrial) -> None:
    async with start_own_trial("commits that hang") as trial:
        await trial.relays.start(2)
        trial.load.start()
        await some_arrive(trial)
        await trial.disturb_all()
        trial.times = 1
        await _set(trial, "synchronous_standby_names", "nobody")
        # Longer than a statement may take, so each relay gives up its statement and tries again.
        await all_logged(trial, AWAY, 1)
        await _set(trial, "synchronous_standby_names", "")
        await trial.recovers()
        await all_logged(trial, BACK, 1)
