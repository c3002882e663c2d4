"""An answer crashes the relay that reads it. After some lost leases the delivery is sent alone, and
in the end it fails."""

import asyncio
import sys

import pytest
from aiohttp import web

from relay.rules.policy import MAX_LOST_LEASES
from service.platform.settings import Settings
from tests.support.database import Connection
from tests.support.paths import ROOT
from tests.support.receivers.receiver import Arrival, Receiver, receiving
from tests.support.relay.crashing_relay import FATAL
from tests.support.relay.log import RelayLog
from tests.support.relay.processes import RelayProcess, Relays
from tests.support.rows import add_webhook, write_event
from tests.support.trials.trial import PATIENCE, StartTrial, Trial
from tests.support.waiting import until

CRASHING = (sys.executable, "-m", "tests.support.relay.crashing_relay")
ENVIRONMENT = {"PYTHONPATH": str(ROOT)}
SUSPECT = 5


async def _keep_two(trial: Trial, done: asyncio.Event) -> None:
    """Plays a supervisor: for each relay that has crashed, it starts another."""
    while not done.is_set():
        crashed = sum(relay.exit_code is not None for relay in trial.relays.started)
        if crashed > trial.times:
            trial.times += 1
            # Relays.start() would wait until the relay is present, but it may have crashed by then.
            relay = RelayProcess(
                trial.relays.directory / f"relay{len(trial.relays.started)}.log", ENVIRONMENT, CRASHING
            )
            await relay.start()
            trial.relays.started.append(relay)
            continue
        trial.disturbed |= {row["id"] for row in await trial.db.fetch("select id from relays")}
        await asyncio.sleep(0.05)


@pytest.mark.chaos
async def test_an_answer_that_crashes_relays(start_trial: StartTrial, settings: Settings) -> None:
    async def fatal(_: Arrival) -> web.StreamResponse:
        return web.Response(status=FATAL)

    async with start_trial("an answer that crashes the relay") as trial, receiving(fatal) as killer:
        webhook = await add_webhook(trial.db, settings, killer.url, ["item-deleted"])
        await trial.relays.start(2, command=CRASHING, PYTHONPATH=str(ROOT))
        done = asyncio.Event()
        keeping = asyncio.create_task(_keep_two(trial, done))
        trial.load.start()
        event = await write_event(trial.db, "item-deleted")

        async def given_up() -> bool:
            return bool(
                await trial.db.fetchval("select exists (select from attempts where webhook_id = $1)", webhook.id)
            )

        await until(given_up, "the delivery that kills relays is given up", 3 * PATIENCE)
        await trial.recovers()
        done.set()
        await keeping
        end = await trial.db.fetchrow("select outcome, error from attempts where event_id = $1", event)
    assert end is not None
    assert end["outcome"] == "failed"
    assert end["error"].startswith("relay crashed")
    assert len(killer.arrivals) == MAX_LOST_LEASES


async def test_what_has_lost_five_leases_is_sent_while_nothing_else_is_in_flight(
    connection: Connection, settings: Settings, relays: Relays, receiver: Receiver
) -> None:
    under_way = 0
    beside: dict[str, int] = {}

    async def slowly(arrival: Arrival) -> web.StreamResponse:
        nonlocal under_way
        under_way += 1
        beside[arrival.event_id] = under_way
        await asyncio.sleep(0.1)
        under_way -= 1
        return web.Response()

    receiver.answer = slowly
    others = [
        await add_webhook(connection, settings, f"{receiver.url}/{number}", ["item-created"]) for number in range(3)
    ]
    suspected = await add_webhook(connection, settings, f"{receiver.url}/suspected", ["item-deleted"])
    log = RelayLog(connection)
    for _ in range(3):
        await log.event(suspected.id, type="item-deleted")
        for webhook in others * 5:
            await log.event(webhook.id)
    await connection.execute(
        "update deliveries set lost_leases = $2, leased_by = gen_random_uuid(), lease_until = now(), fence = 0 where webhook_id = $1",
        suspected.id,
        SUSPECT - 1,
    )
    await relays.start(1, RELAY_POLL_INTERVAL="100")
    await relays.idle()
    rows = await connection.fetch("select event_id, outcome from attempts where webhook_id = $1", suspected.id)
    assert [row["outcome"] for row in rows] == ["success"] * 3
    assert {beside[str(row["event_id"])] for row in rows} == {1}
    assert max(beside.values()) > 3, "the others were sent one by one, too: the test shows nothing"
