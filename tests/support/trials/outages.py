"""Conditions that trials of an outage wait for."""

from tests.support.relay.processes import RelayProcess
from tests.support.trials.trial import PATIENCE, Trial
from tests.support.waiting import until

# The log lines at the beginning and at the end of each outage.
AWAY, BACK = "the database is away", "the database is back"


async def some_arrive(trial: Trial, more: int = 40) -> None:
    """Waits until more events arrive, so the load flows."""
    trial.receiver.read()
    before = len(trial.receiver.arrived)

    async def arrived() -> bool:
        trial.receiver.read()
        return len(trial.receiver.arrived) >= before + more

    await until(arrived, f"{trial.fault}: {more} more arrive", PATIENCE)


def times_logged(relay: RelayProcess, event: str) -> int:
    return sum(line["event"] == event for line in relay.log())


async def all_logged(trial: Trial, event: str, times: int) -> None:
    """Waits until every relay has logged the event that often, and checks that none did more
    often."""

    async def have_logged() -> bool:
        return all(times_logged(relay, event) >= times for relay in trial.relays.started)

    await until(have_logged, f"every relay logs {event!r}", PATIENCE)
    assert {times_logged(relay, event) for relay in trial.relays.started} == {times}
