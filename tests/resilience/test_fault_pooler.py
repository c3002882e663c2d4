"""PgBouncer between relays, writers and PostgreSQL is killed and started again, and the server
behind it restarts."""

import asyncio
import random

import pytest

from tests.support.postgres.pgbouncer import StartPooler
from tests.support.postgres.throwaway import Throwaway
from tests.support.trials.outages import AWAY, BACK, all_logged, some_arrive
from tests.support.trials.trial import HowOften, StartTrial, Trial


async def _is_right(trial: Trial) -> None:
    await trial.relays.leader()
    await trial.relays.follower()
    assert not [line for relay in trial.relays.started for line in relay.log() if "exception" in line]


async def test_a_pooler_that_is_killed_and_started_again(
    start_trial: StartTrial, database_url: str, start_pooler: StartPooler, how_often: HowOften
) -> None:
    pooler = start_pooler(database_url)
    async with start_trial("kill -9 of PgBouncer", through=pooler.url) as trial:
        await trial.relays.start(2, DATABASE_URL=pooler.url)
        trial.load.start()
        for outage in range(1, how_often(10, 2) + 1):
            await some_arrive(trial)
            await trial.disturb_all()
            await asyncio.sleep(random.random() * 0.3)
            trial.times += 1
            pooler.kill()
            await all_logged(trial, AWAY, outage)
            pooler.start()
            await trial.recovers()
            await all_logged(trial, BACK, outage)
        await _is_right(trial)


@pytest.mark.chaos
async def test_a_server_that_is_killed_behind_a_pooler(
    start_own_trial: StartTrial, throwaway: Throwaway, start_pooler: StartPooler, how_often: HowOften
) -> None:
    # Otherwise PgBouncer would wait 15 s before it tries to reach the server again.
    pooler = start_pooler(throwaway.url, default_pool_size=30, server_login_retry=1)
    async with start_own_trial("kill -9 of PostgreSQL behind PgBouncer", through=pooler.url) as trial:
        await trial.relays.start(2, DATABASE_URL=pooler.url)
        trial.load.start()
        for outage in range(1, how_often(5, 1) + 1):
            await some_arrive(trial)
            await trial.disturb_all()
            trial.times += 1
            throwaway.kill()
            await all_logged(trial, AWAY, outage)
            await throwaway.start_again()
            await trial.recovers()
            await all_logged(trial, BACK, outage)
        await _is_right(trial)
