"""Connections of a relay to PostgreSQL are half-open: nothing passes in either direction, and
neither side closes them."""

import asyncio
from datetime import datetime
from uuid import UUID

import asyncpg
import pytest

from relay.watch.database import open_queues
from tests.support.database import THIS_DATABASE
from tests.support.postgres.swallowing_proxy import SwallowingProxy
from tests.support.postgres.throwaway import Throwaway
from tests.support.relay.processes import RelayProcess
from tests.support.trials.trial import PATIENCE, HowOften, StartTrial, Trial
from tests.support.waiting import until

# In seconds. A relay that waited until its statements time out would need a minute.
SLOW_RETURN = 30.0


async def _at_work(trial: Trial, relay: RelayProcess) -> None:
    """The leader sends all of so small a load, so only a leader must be at work. Another relay has
    idle connections."""
    if relay is await trial.relays.leader():
        await trial.at_work(await trial.id_of(relay))


async def _is_back(trial: Trial, relay: RelayProcess) -> None:
    """The relay beats again, under any id, and sends if it leads."""
    first: dict[UUID, tuple[datetime, int]] = {}

    async def back() -> bool:
        row = await trial.db.fetchrow("select id, seen_at, delivered, leader from relays where pid = $1", relay.pid)
        if row is None:
            return False
        seen_at, delivered = first.setdefault(row["id"], (row["seen_at"], row["delivered"]))
        return row["seen_at"] > seen_at and (row["delivered"] > delivered or not row["leader"])

    await until(back, "the relay is back", SLOW_RETURN)


async def _recovers(trial: Trial) -> None:
    await trial.recovers()
    assert trial.recovered[-1] < SLOW_RETURN


@pytest.mark.chaos
async def test_the_pool_of_a_relay_that_is_half_open(
    start_own_trial: StartTrial, throwaway: Throwaway, how_often: HowOften
) -> None:
    async with SwallowingProxy(throwaway.socket) as proxy, start_own_trial("pool of a relay half-open") as trial:
        (victim,) = await trial.relays.start(1, DATABASE_URL=proxy.url)
        await trial.relays.start(1)
        trial.load.start()
        for _ in range(how_often(5, 1)):
            victim_id = await trial.id_of(victim)
            await _at_work(trial, victim)
            trial.disturbed.add(victim_id)
            trial.times += 1
            proxy.swallow_all()
            await _recovers(trial)
            await _is_back(trial, victim)


@pytest.mark.chaos
async def test_the_pools_of_all_relays_that_are_half_open(
    start_own_trial: StartTrial, throwaway: Throwaway, how_often: HowOften
) -> None:
    """No relay is left to take over."""
    async with SwallowingProxy(throwaway.socket) as proxy, start_own_trial("pools of all relays half-open") as trial:
        await trial.relays.start(2, DATABASE_URL=proxy.url)
        trial.load.start()
        for _ in range(how_often(5, 1)):
            for relay in trial.relays.started:
                await _at_work(trial, relay)
            await trial.disturb_all()
            trial.times += 1
            proxy.swallow_all()
            await _recovers(trial)
            for relay in trial.relays.started:
                await _is_back(trial, relay)


@pytest.mark.chaos
async def test_a_leader_that_is_not_answered_while_it_fans_out(
    start_own_trial: StartTrial, throwaway: Throwaway, how_often: HowOften
) -> None:
    """The server has queued and leased the deliveries, and believes that its reply was sent."""
    async with SwallowingProxy(throwaway.socket) as proxy, start_own_trial("LISTEN half-open in fan-out") as trial:
        trial.may_repeat = False
        await trial.relays.start(2, DATABASE_URL=proxy.url)
        trial.load.start()
        blocker = await asyncpg.connect(throwaway.url)
        try:
            for _ in range(how_often(5, 1)):

                async def fans_out() -> bool:
                    return bool(
                        await trial.db.fetchval(
                            "select exists (select from relays join pg_stat_activity as a on a.pid = listen_pid"
                            " where leader and wait_event_type = 'Lock')"
                        )
                    )

                await until(trial.relays.leader, "a relay leads", PATIENCE)
                async with blocker.transaction():
                    await blocker.execute("select from log_head for update")
                    await until(fans_out, "the leader's fan-out waits for the head of the log", PATIENCE)
                    trial.times += 1
                    proxy.swallow_listeners()
                await _recovers(trial)
        finally:
            await blocker.close()


@pytest.mark.chaos
async def test_a_connection_over_which_nothing_passes_from_the_first(throwaway: Throwaway) -> None:
    """Before it is first used, a new connection is not watched, and presence itself may be waiting
    for it."""
    async with SwallowingProxy(throwaway.socket) as proxy:
        pool = await open_queues(proxy.url)
        try:
            async with pool.acquire():
                proxy.swallow_the_next()
                async with asyncio.timeout(SLOW_RETURN) as limit:
                    with pytest.raises(TimeoutError):
                        await pool.fetchval("select 1")
                    assert await pool.fetchval("select 1") == 1
                assert not limit.expired()
        finally:
            pool.terminate()


@pytest.mark.chaos
async def test_a_fault_in_the_midst_of_a_transaction_does_not_keep_its_locks(throwaway: Throwaway) -> None:
    """The server does not know that its client is gone. Other sessions must not wait until it
    does."""
    async with SwallowingProxy(throwaway.socket) as proxy:
        pool = await open_queues(proxy.url)
        other = await asyncpg.connect(throwaway.url)
        try:
            async with pool.acquire() as connection:
                await connection.execute("begin; lock table receiver_health")

                async def free() -> bool:
                    held = await other.fetchval(
                        f"select exists (select from pg_locks where mode = 'AccessExclusiveLock' and {THIS_DATABASE})"
                    )
                    return not held

                assert not await free()
                proxy.swallow_all()
                await until(free, "the lock is free", PATIENCE)
                connection.terminate()
        finally:
            await other.close()
            pool.terminate()
