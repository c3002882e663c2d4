"""A NAT between relays and receivers forgets all connections, under load."""

import pytest

from tests.support.receivers.forgetful_nat import ForgetfulNat, forgetful_nat
from tests.support.trials.trial import PATIENCE, HowOften, StartTrial
from tests.support.waiting import until


async def at_work(nat: ForgetfulNat) -> bool:
    return nat.remembered >= 6


async def forgets(nat: ForgetfulNat) -> None:
    """Makes the NAT forget, and returns once a request has been swallowed."""
    nat.forget()
    before = nat.swallowed

    async def swallowed() -> bool:
        return nat.swallowed > before

    await until(swallowed, "a request goes nowhere", PATIENCE)


@pytest.mark.chaos
async def test_a_nat_that_forgets_its_connections(start_trial: StartTrial, how_often: HowOften) -> None:
    async with start_trial("a NAT forgets its connections", per_second=20) as trial:
        async with forgetful_nat(trial.receiver.url) as nat:
            await trial.db.execute(
                "update webhooks set url = replace(url, $1, $2), version = version + 1", trial.receiver.url, nat.url
            )
            # So few slots that both relays have connections to lose.
            await trial.relays.start(2, RELAY_CONCURRENCY="6")
            trial.load.start()
            for _ in range(how_often(5, 1)):
                await until(lambda: at_work(nat), "the relays keep connections", PATIENCE)
                trial.times += 1
                await forgets(nat)
                await trial.recovers()
            await trial.load.stop()
            await trial.relays.idle()
        failed = await trial.db.fetchval("select count(*) from attempts where outcome = 'failed'")
        assert failed == 0
