"""The primary is killed and its standby promoted. The relays go on by themselves on the server that
their one address leads to."""

import asyncio
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from relay.lead.doorbell import LOCK_CLASS, LOCK_LEADER
from service.platform.errors import StartupError
from service.platform.lifecycle import require_migrated
from tests.support.postgres.audit_scripts import run_audit
from tests.support.postgres.swallowing_proxy import SwallowingProxy
from tests.support.postgres.throwaway import Throwaway
from tests.support.rows import write_event
from tests.support.trials.outages import AWAY, BACK, all_logged, some_arrive
from tests.support.trials.trial import PATIENCE, HowOften, StartTrial, Trial
from tests.support.waiting import until

# If an event needed the poll after a failover, it would wait for an hour.
HOUR_MS = "3600000"


@pytest.fixture
def follow() -> Iterator[Callable[[Throwaway, str], Throwaway]]:
    """`follow(primary, "standby1")` is a standby with that name. It ends with the test."""
    with ExitStack() as standbys:

        def start(primary: Throwaway, name: str) -> Throwaway:
            standby = Throwaway()
            standbys.callback(standby.stop)
            standby.follow(primary, name)
            return standby

        yield start


async def _commits_wait_for(trial: Trial, name: str) -> None:
    """From now on, a commit waits for the standby."""
    await trial.db.execute(f"alter system set synchronous_standby_names = '{name}'")
    await trial.db.execute("select pg_reload_conf()")

    async def synchronous() -> bool:
        return bool(
            await trial.db.fetchval(
                "select exists (select from pg_stat_replication where application_name = $1 and sync_state = 'sync')",
                name,
            )
        )

    await until(synchronous, f"{name} is a synchronous standby", PATIENCE)


async def _nothing_is_left_of_the_old_primary(trial: Trial) -> None:
    """Wait until both relays listen on the new primary, and the leader holds its lock there."""

    async def is_so() -> bool:
        return bool(
            await trial.db.fetchval(
                """
                select count(*) = 2 and count(a.pid) = 2 and count(*) filter (where r.leader) = 1
                       and count(l.pid) = 1 and count(l.pid) filter (where r.leader) = 1
                  from relays as r
                  left join pg_stat_activity as a on a.pid = r.listen_pid and a.backend_start = r.listen_start
                  left join pg_locks as l on l.pid = a.pid and l.locktype = 'advisory' and l.granted
                                         and l.classid = $1 and l.objid = $2
                """,
                LOCK_CLASS,
                LOCK_LEADER,
            )
        )

    await until(is_so, "two relays listen on the new primary, and one of them holds the leader's lock there", PATIENCE)


async def _numbers_go_on(trial: Trial) -> None:
    """Positions have no gap, and no sequence is behind a number that it has given out."""
    row = await trial.db.fetchrow(
        """
        select (select count(*) = max(position) and max(position) = (select position from log_head) from events) as positions,
               coalesce((select max(fence) from deliveries), 0) <= (select last_value from fences) as fences,
               (select max(seq) from events)
               <= pg_sequence_last_value(pg_get_serial_sequence('outbox', 'seq')::regclass) as seqs
        """
    )
    assert row is not None
    assert dict(row) == {"positions": True, "fences": True, "seqs": True}


async def _goes_on_without_the_poll(trial: Trial) -> None:
    """When the load has ended, the leader sleeps. The ring of each further commit must reach it on
    the new primary."""
    await trial.load.stop()
    for _ in range(5):
        await trial.relays.idle()
        event_id = str(await write_event(trial.db))

        async def arrived(event_id: str = event_id) -> bool:
            trial.receiver.read()
            return all((webhook, event_id) in trial.receiver.arrived for webhook in trial.webhooks)

        await until(arrived, "an event arrives that was written while the leader slept", PATIENCE)
    assert await trial.relays.poll_wakes() == 0


async def _is_right(trial: Trial, primary: Throwaway) -> None:
    await _nothing_is_left_of_the_old_primary(trial)
    await _goes_on_without_the_poll(trial)
    await _numbers_go_on(trial)
    assert await trial.db.fetchval("select bases = '{0}' from epoch"), "nothing is lost, so no new epoch has begun"
    assert await run_audit("outbox_completeness", primary.url) == []


async def test_failover_to_a_synchronous_standby(
    start_own_trial: StartTrial,
    throwaway: Throwaway,
    follow: Callable[[Throwaway, str], Throwaway],
    how_often: HowOften,
) -> None:
    primary = throwaway
    async with (
        SwallowingProxy(primary.socket) as proxy,
        start_own_trial("failover to a standby", through=proxy.url) as trial,
    ):
        await trial.relays.start(2, DATABASE_URL=proxy.url, RELAY_POLL_INTERVAL=HOUR_MS)
        trial.load.start()
        for failover in range(1, how_often(6, 2) + 1):
            name = f"standby{failover}"
            standby = await asyncio.to_thread(follow, primary, name)
            await _commits_wait_for(trial, name)
            await some_arrive(trial)
            await trial.disturb_all()
            await asyncio.sleep(random.random() * 0.3)
            trial.times += 1
            primary.kill()
            if failover % 2:
                # The address leads to the standby, which still refuses writes.
                proxy.socket = standby.socket
            await all_logged(trial, AWAY, failover)
            await standby.promote()
            proxy.socket = standby.socket
            await trial.recovers()
            await all_logged(trial, BACK, failover)
            await _nothing_is_left_of_the_old_primary(trial)
            primary = standby
        await _is_right(trial, primary)


async def test_a_standby_is_refused_at_the_start(
    throwaway: Throwaway, follow: Callable[[Throwaway, str], Throwaway]
) -> None:
    standby = await asyncio.to_thread(follow, throwaway, "standby")
    with pytest.raises(StartupError, match="it is a standby, which takes no writes"):
        await require_migrated(standby.url)
    await require_migrated(standby.url, read_only=True)


@pytest.mark.chaos
async def test_failover_between_two_hosts_of_the_url(
    start_own_trial: StartTrial, throwaway: Throwaway, follow: Callable[[Throwaway, str], Throwaway]
) -> None:
    standby = await asyncio.to_thread(follow, throwaway, "standby")
    hosts = ",".join(str(Path(server.socket).parent) for server in (throwaway, standby))
    url = f"postgresql://postgres@/jossiedb?host={hosts}&port=5432,5432&target_session_attrs=primary"
    async with start_own_trial("failover between two hosts", through=url) as trial:
        await _commits_wait_for(trial, "standby")
        await trial.relays.start(2, DATABASE_URL=url, RELAY_POLL_INTERVAL=HOUR_MS)
        trial.load.start()
        await some_arrive(trial)
        await trial.disturb_all()
        trial.times = 1
        throwaway.kill()
        await all_logged(trial, AWAY, 1)
        await standby.promote()
        await trial.recovers()
        await all_logged(trial, BACK, 1)
        await _is_right(trial, standby)


@pytest.mark.chaos
async def test_failover_from_a_primary_that_vanished(
    start_own_trial: StartTrial, throwaway: Throwaway, follow: Callable[[Throwaway, str], Throwaway]
) -> None:
    """As when the primary's machine has lost power: nothing closes the relays' connections."""
    standby = await asyncio.to_thread(follow, throwaway, "standby")
    async with (
        SwallowingProxy(throwaway.socket) as proxy,
        SwallowingProxy(throwaway.socket) as for_writers,
        start_own_trial("failover from a primary that vanished", through=for_writers.url) as trial,
    ):
        await _commits_wait_for(trial, "standby")
        await trial.relays.start(2, DATABASE_URL=proxy.url, RELAY_POLL_INTERVAL=HOUR_MS)
        trial.load.start()
        await some_arrive(trial)
        await trial.disturb_all()
        trial.times = 1
        proxy.swallow_all()
        throwaway.kill()
        await standby.promote()
        proxy.socket = for_writers.socket = standby.socket
        await trial.recovers()
        await _is_right(trial, standby)
