"""kill -9 and SIGTERM of relays under load."""

import asyncio
import random
import signal

from tests.support.relay.processes import RelayProcess
from tests.support.trials.trial import PATIENCE, HowOften, StartTrial, Trial
from tests.support.waiting import until

# The load needs at least eight slots. A leader with eight leaves work to the others. With the
# default number it would do all of it.
FEW_SLOTS = "8"


async def _kill(trial: Trial, victim: RelayProcess) -> None:
    """Kill the relay at a random moment of its work, and start another at once."""
    await trial.at_work(await trial.id_of(victim))
    await asyncio.sleep(random.random() * 0.3)
    await trial.disturb(victim, signal.SIGKILL)
    await victim.ended()
    await asyncio.gather(trial.relays.start(RELAY_CONCURRENCY=FEW_SLOTS), trial.recovers())


async def test_a_relay_killed_at_random_points(start_trial: StartTrial, how_often: HowOften) -> None:
    async with start_trial("kill -9 of a relay") as trial:
        await trial.relays.start(3, RELAY_CONCURRENCY=FEW_SLOTS)
        trial.load.start()
        for _ in range(how_often(50, 2)):
            alive = [relay for relay in trial.relays.started if relay.exit_code is None]
            await _kill(trial, random.choice(alive))


async def test_a_leader_killed(start_trial: StartTrial, how_often: HowOften) -> None:
    async with start_trial("kill -9 of the leader") as trial:
        await trial.relays.start(2)
        trial.load.start()
        for _ in range(how_often(10, 1)):
            await until(trial.relays.leader, "a relay leads", PATIENCE)
            leader = await trial.relays.leader()
            assert leader is not None
            await _kill(trial, leader)


async def test_a_relay_told_to_stop_under_load_repeats_nothing(start_trial: StartTrial, how_often: HowOften) -> None:
    async with start_trial("SIGTERM of a relay") as trial:
        trial.may_repeat = False
        await trial.relays.start(2, RELAY_CONCURRENCY=FEW_SLOTS)
        trial.load.start()
        for _ in range(how_often(10, 2)):
            await until(trial.relays.leader, "a relay leads", PATIENCE)
            victim = trial.relays.started[-1] if trial.times % 2 else await trial.relays.leader()
            assert victim is not None
            relay_id = await trial.id_of(victim)
            await trial.at_work(relay_id)
            victim.send(signal.SIGTERM)
            trial.times += 1
            assert await victim.ended() == 0
            # The relay gave its leases back, so no peer has to take them over.
            assert not await trial.db.fetchval("select count(*) from deliveries where leased_by = $1", relay_id)
            await asyncio.gather(trial.relays.start(RELAY_CONCURRENCY=FEW_SLOTS), trial.recovers())
