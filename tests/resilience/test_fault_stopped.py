"""Relays that are stopped, that get no messages, or whose clocks are wrong."""

import signal
import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.support.postgres.swallowing_proxy import SwallowingProxy
from tests.support.postgres.throwaway import Throwaway
from tests.support.programs import SkipUnless
from tests.support.relay.processes import RelayProcess
from tests.support.trials.trial import PATIENCE, HowOften, StartTrial, Trial
from tests.support.waiting import until

# The load needs eight slots, so all three relays have work.
FEW_SLOTS = "4"
# In seconds. A writer never waits for a stopped relay.
SLOW_COMMIT = 5.0


async def _stop_and_go_on(trial: Trial, victim: RelayProcess) -> None:
    """SIGSTOP for longer than the relay's leases last, then SIGCONT. Its late results are fenced
    off."""
    await trial.at_work(await trial.id_of(victim))
    stopped = await trial.disturb(victim, signal.SIGSTOP)
    # Peers take over its leases long before they run out.
    await trial.recovers()

    async def gone() -> bool:
        return not await trial.db.fetchval("select exists (select from relays where id = $1)", stopped)

    async def another_leads() -> bool:
        return await trial.relays.leader() not in (None, victim)

    await until(gone, "the stopped relay is taken for dead", PATIENCE)
    await until(another_leads, "another relay leads", PATIENCE)
    victim.send(signal.SIGCONT)

    async def back() -> bool:
        return bool(await trial.db.fetchval("select exists (select from relays where pid = $1)", victim.pid))

    await until(back, "the stopped relay goes on under a new id", PATIENCE)


def _has_said_something(relay: RelayProcess) -> Callable[[], Awaitable[bool]]:
    async def has() -> bool:
        return bool(relay.log())

    return has


async def _check_fenced(trial: Trial) -> None:
    """Every late result of a stopped relay is logged, and has changed nothing."""

    async def late() -> bool:
        return bool(await trial.db.fetchval("select exists (select from attempts where outcome = 'superseded')"))

    await until(late, "what was under way when a relay was stopped is logged as superseded", PATIENCE)
    assert trial.load.slowest < SLOW_COMMIT


@pytest.mark.chaos
async def test_a_relay_stopped_past_its_leases(start_trial: StartTrial, how_often: HowOften) -> None:
    async with start_trial("SIGSTOP of a relay, then SIGCONT", delay_ms=200) as trial:
        # The load needs 40 slots. A leader with the default number would leave nothing to the other
        # relay.
        await trial.relays.start(2, RELAY_CONCURRENCY="40")
        trial.load.start()
        for _ in range(how_often(5, 1)):
            await _stop_and_go_on(trial, await trial.relays.follower())
        await _check_fenced(trial)


@pytest.mark.chaos
async def test_a_leader_stopped_past_its_leases(start_trial: StartTrial, how_often: HowOften) -> None:
    async with start_trial("SIGSTOP of the leader, then SIGCONT", delay_ms=200) as trial:
        await trial.relays.start(2)
        trial.load.start()
        for _ in range(how_often(5, 1)):
            await until(trial.relays.leader, "a relay leads", PATIENCE)
            leader = await trial.relays.leader()
            assert leader is not None
            await _stop_and_go_on(trial, leader)
        await _check_fenced(trial)


@pytest.mark.chaos
async def test_a_listen_connection_that_is_half_open(
    start_own_trial: StartTrial, throwaway: Throwaway, how_often: HowOften
) -> None:
    async with SwallowingProxy(throwaway.socket) as proxy, start_own_trial("LISTEN half-open") as trial:
        trial.may_repeat = False
        await trial.relays.start(2, DATABASE_URL=proxy.url)
        trial.load.start()
        for _ in range(how_often(5, 1)):
            held = await trial.db.fetchval("select listen_pid from relays where leader")
            trial.times += 1
            proxy.swallow_listeners()
            await trial.recovers()

            async def leads_again(held: int = held) -> bool:
                # The old backend does not know that its client has left it. It must not keep the
                # leader's locks.
                return bool(
                    await trial.db.fetchval(
                        "select exists (select from relays where leader and listen_pid <> $1)"
                        " and not exists (select from pg_stat_activity where pid = $1)",
                        held,
                    )
                )

            await until(leads_again, "a relay leads on a new connection, and the old backend is gone", PATIENCE)
        assert trial.load.slowest < SLOW_COMMIT


@pytest.mark.chaos
async def test_relays_whose_clocks_are_an_hour_off(start_trial: StartTrial, skip_unless: SkipUnless) -> None:
    skip_unless("faketime")
    # Preload the library itself. With the program of that name, the relay would be its child, and
    # signals would go to the parent.
    library = str(next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")))
    async with start_trial("the clock of one relay an hour off") as trial:
        trial.may_repeat = False
        await trial.relays.start(1, RELAY_CONCURRENCY=FEW_SLOTS)
        for offset in ("+1h", "-1h"):
            (relay,) = await trial.relays.start(
                LD_PRELOAD=library, FAKETIME_DONT_FAKE_MONOTONIC="1", FAKETIME=offset, RELAY_CONCURRENCY=FEW_SLOTS
            )
            await until(_has_said_something(relay), "it has logged something")
            logged_at = datetime.fromisoformat(relay.log()[0]["timestamp"])
            off = abs(logged_at.timestamp() - time.time())
            assert timedelta(minutes=50).total_seconds() < off < timedelta(minutes=70).total_seconds()
        trial.load.start()
        trial.times = 2

        async def all_have_delivered() -> bool:
            rows = await trial.db.fetch("select delivered from relays")
            return len(rows) == 3 and all(row["delivered"] > 20 for row in rows)

        await until(all_have_delivered, "all three relays deliver", PATIENCE)
        await trial.recovers()
        odd = await trial.db.fetchval(
            "select count(*) from attempts where abs(extract(epoch from recorded_at - started_at)) > 60"
        )
        assert odd == 0
