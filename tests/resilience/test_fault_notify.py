"""The queue of notifications is full: no leader is woken by a ring, and no commit fails."""

from collections.abc import Iterator

import asyncpg
import pytest

from tests.support.postgres.throwaway import Throwaway, throwaway_server
from tests.support.trials.outages import some_arrive
from tests.support.trials.trial import HowOften, StartTrial


@pytest.fixture
def throwaway(environment: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Throwaway]:
    """A server whose queue of notifications is as small as it can be."""
    monkeypatch.setenv("RELAY_POLL_INTERVAL", "500")
    with throwaway_server(monkeypatch, small_queue=True) as server:
        yield server


async def test_a_queue_of_notifications_that_is_full(
    start_own_trial: StartTrial, throwaway: Throwaway, how_often: HowOften
) -> None:
    async with start_own_trial("a full notification queue", per_second=20) as trial:
        # Nothing may arrive twice.
        trial.may_repeat = False
        await trial.relays.start(2)
        trial.load.start()
        for _ in range(how_often(5, 1)):
            await some_arrive(trial)
            stuck = await asyncpg.connect(throwaway.url)
            await stuck.execute("listen anything")
            # The session reads nothing while it is in a transaction.
            await stuck.execute("begin")
            await _fill(throwaway.url)
            trial.times += 1
            await some_arrive(trial)
            await trial.recovers()
            await stuck.close()
            await trial.recovers()
        assert trial.load.refused == 0


async def _fill(url: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        for _ in range(50):
            await connection.execute(
                "select pg_notify('anything', repeat('x', 7000) || n) from generate_series(1, 5) as n"
            )
        raise AssertionError("it takes more than that")
    except asyncpg.ProgramLimitExceededError:
        pass
    finally:
        await connection.close()
