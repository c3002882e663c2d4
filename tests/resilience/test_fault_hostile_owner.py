"""Owners whose receivers never answer, beside healthy owners: they hold what an owner may hold, and
no other owner waits for it."""

from contextlib import AsyncExitStack

import pytest

from service.platform.settings import Settings
from tests.support.receivers.ill_receivers import MISBEHAVIOURS, misbehaving
from tests.support.rows import add_user, add_webhook
from tests.support.trials.trial import PATIENCE, StartTrial, Trial
from tests.support.waiting import until

WEBHOOKS, EVENTS = 8, 75
# The main slots of two relays with the default settings.
MAIN = 2 * 264


async def _held(trial: Trial) -> int:
    held: int = await trial.db.fetchval(
        "select count(*) from deliveries where leased_by is not null and webhook_id::text <> all ($1)", trial.webhooks
    )
    return held


@pytest.mark.chaos
async def test_owners_whose_receivers_never_answer_beside_healthy_ones(
    start_trial: StartTrial, settings: Settings
) -> None:
    async with start_trial("a hostile owner, then 50") as trial, AsyncExitStack() as receivers:
        trial.may_repeat = False
        urls = [await receivers.enter_async_context(misbehaving(MISBEHAVIOURS["hangs"])) for _ in range(WEBHOOKS)]
        await trial.relays.start(2, RELAY_GRACE="0")
        trial.load.start()
        await trial.recovers()
        for owners in (1, 50):
            for number in range(owners):
                owner_id = await add_user(trial.db)
                for url in urls:
                    await add_webhook(
                        trial.db,
                        settings,
                        f"{url}/{number}",
                        ["item-deleted"],
                        owner_id=owner_id,
                        timeout_ms=60_000,
                        max_retries=0,
                    )
            await trial.db.execute(
                """insert into outbox (type, data) select 'item-deleted', '{"name":"x"}' from generate_series(1, $1::int)""",
                EVENTS,
            )

            async def full() -> bool:
                return await _held(trial) >= MAIN

            await until(full, "all is held that may be", PATIENCE)
            for _ in range(3):
                await trial.recovers()
            trial.times += 1
            assert await full(), "what was committed has arrived while all of it was held"
        await trial.load.stop()
        # Only deliveries of these owners are left.
        await trial.db.execute("update webhooks set active = false where id::text <> all ($1)", trial.webhooks)
