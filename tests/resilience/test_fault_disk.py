"""PostgreSQL's disk is full, either that of the tables or that of the log. Relays wait, keep their
results, and go on when there is room."""

from collections.abc import Iterator
from contextlib import suppress

import asyncpg
import pytest

from service.platform.db import AWAY as GONE
from tests.support.postgres.small_disk import SmallDisk
from tests.support.postgres.throwaway import Throwaway
from tests.support.trials.outages import AWAY, BACK, some_arrive, times_logged
from tests.support.trials.trial import PATIENCE, HowOften, StartTrial, Trial
from tests.support.waiting import until

FULL = "No space left on device"
MEGABYTES = 96


@pytest.fixture
def disk() -> Iterator[SmallDisk]:
    with SmallDisk.mounted(MEGABYTES) as disk:
        yield disk


async def _all_are_refused(trial: Trial, server: Throwaway) -> None:
    """Writers get errors, and relays that had something to write report that the database is
    away."""
    before = trial.load.refused

    async def refused() -> bool:
        away = any(times_logged(relay, AWAY) > times_logged(relay, BACK) for relay in trial.relays.started)
        return away and trial.load.refused >= before + 4

    await until(refused, "writers are refused, and a relay says that the database is away", PATIENCE)
    assert FULL in server.log()


async def _leases_run_out(trial: Trial) -> None:
    """Deliveries whose results could not be recorded are due again. They must not be sent while
    results are refused."""

    async def out() -> bool:
        return not await trial.db.fetchval(
            "select exists (select from deliveries where lease_until > clock_timestamp())"
        )

    await until(out, "every lease has run out", PATIENCE)


@pytest.mark.chaos
async def test_a_full_disk_under_the_tables(
    disk: SmallDisk, start_own_trial: StartTrial, throwaway: Throwaway, how_often: HowOften
) -> None:
    await throwaway.move_data(disk.path)
    async with start_own_trial("disk of the tables full") as trial:
        # The load needs eight slots, so both relays have results to record.
        await trial.relays.start(2, RELAY_CONCURRENCY="6")
        trial.load.start()
        for _ in range(how_often(3, 1)):
            await some_arrive(trial)
            trial.times += 1
            disk.fill()
            await _all_are_refused(trial, throwaway)
            await _leases_run_out(trial)
            disk.empty()
            await trial.recovers()


@pytest.mark.chaos
async def test_a_full_disk_under_the_log(
    disk: SmallDisk, start_own_trial: StartTrial, throwaway: Throwaway, how_often: HowOften
) -> None:
    throwaway.move_wal(disk.path)
    async with start_own_trial("disk of the log full") as trial:
        await trial.relays.start(2)
        trial.load.start()
        for larger in range(2, how_often(3, 1) + 2):
            await some_arrive(trial)
            trial.times += 1
            await _fill_the_log(throwaway)
            await _all_are_refused(trial, throwaway)
            assert "PANIC" in throwaway.log()
            disk.enlarge(MEGABYTES * larger)
            # If the server has not ended by itself, it is killed. It may be in a recovery, and a
            # shutdown of PostgreSQL 18 during that does not always end.
            with suppress(FileNotFoundError):
                throwaway.kill()
            await throwaway.start_again()
            await trial.recovers()


async def _fill_the_log(server: Throwaway) -> None:
    """Write until the server can write no more. It ends itself then."""
    connection = await asyncpg.connect(server.url)
    try:
        while True:
            await connection.execute("select pg_logical_emit_message(false, 'fill', repeat('x', 1000000))")
    except (*GONE, asyncpg.PostgresError):
        pass
    finally:
        connection.terminate()
