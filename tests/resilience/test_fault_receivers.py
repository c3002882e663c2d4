"""Receivers that misbehave, beside healthy ones. They harm no other receiver, and their deliveries
end as failed."""

from contextlib import AsyncExitStack
from pathlib import Path
from uuid import UUID

import pytest

from service.platform.queries import load
from service.platform.settings import Settings
from tests.support.receivers.ill_receivers import (
    MISBEHAVIOURS,
    closing_kept_alive,
    gone_and_well_in_turn,
    misbehaving,
    wrong_certificate,
)
from tests.support.rows import add_webhook
from tests.support.trials.trial import PATIENCE, HowOften, StartTrial, Trial
from tests.support.waiting import until


async def _memory_kb(trial: Trial) -> int:
    peaks = []
    for relay in trial.relays.started:
        status = Path(f"/proc/{relay.pid}/status").read_text()
        peaks.append(next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")))
    return max(peaks)


async def test_receivers_that_misbehave_beside_healthy_ones(
    start_trial: StartTrial, how_often: HowOften, settings: Settings, tmp_path: Path
) -> None:
    async with start_trial("receivers that misbehave") as trial, AsyncExitStack() as receivers:
        trial.may_repeat = False
        urls = {name: await receivers.enter_async_context(misbehaving(act)) for name, act in MISBEHAVIOURS.items()}
        tls = wrong_certificate(tmp_path)
        urls["wrong certificate"] = await receivers.enter_async_context(misbehaving(MISBEHAVIOURS["hangs"], tls=tls))
        # With a short delay, deliveries that the breaker holds back end soon.
        await trial.relays.start(2, WEBHOOK_BREAKER_DELAY="100")
        ill: dict[str, UUID] = {}
        # After these events, only the healthy receivers are owed anything.
        for name, url in urls.items():
            webhook = await add_webhook(
                trial.db, settings, url, ["item-deleted"], max_retries=how_often(3, 0), retry_delay_ms=100
            )
            ill[name] = webhook.id

        async def over() -> bool:
            # One statement, because an event could move from one table to the other between two.
            found: bool = await trial.db.fetchval(
                "select not exists (select from outbox where type = 'item-deleted')"
                " and not exists (select from deliveries where webhook_id = any ($1))",
                list(ill.values()),
            )
            return found

        trial.load.start()
        for _ in range(2):
            await trial.db.execute("""insert into outbox (type, data) values ('item-deleted', '{"name":"x"}')""")
            # The second round meets connections that were kept alive.
            await until(over, "nothing is owed to the receivers that misbehave any more", PATIENCE)
            await trial.recovers()
        trial.times = len(ill)
        ends = await trial.db.fetch(
            "select webhook_id, outcome from attempts where webhook_id = any ($1) and outcome <> 'retry'",
            list(ill.values()),
        )
        by_name = {name: [row["outcome"] for row in ends if row["webhook_id"] == id] for name, id in ill.items()}
        assert by_name == {name: ["failed"] * 2 for name in ill}
        # Little of their answers is kept, whatever they send.
        assert await _memory_kb(trial) < 400_000


@pytest.mark.chaos
async def test_a_receiver_that_says_that_it_is_gone_and_takes_what_is_under_way(
    start_trial: StartTrial, how_often: HowOften, settings: Settings
) -> None:
    async with start_trial("410 and 200 in turn") as trial, misbehaving(gone_and_well_in_turn()) as url:
        trial.may_repeat = False
        await trial.relays.start(2)
        webhook = (await add_webhook(trial.db, settings, url, ["item-deleted"])).id
        trial.load.start()

        async def disabled() -> bool:
            return not await trial.db.fetchval("select active from webhooks where id = $1", webhook)

        for _ in range(how_often(20, 4)):
            await trial.db.execute(
                """insert into outbox (type, data) select 'item-deleted', '{"name":"x"}' from generate_series(1, 20)"""
            )
            await until(disabled, "the webhook is disabled", PATIENCE)
            await trial.recovers()
            trial.times += 1
            await trial.db.execute(
                "update webhooks set active = true, disabled_at = null, disabled_reason = null where id = $1", webhook
            )
            await trial.db.execute(load("webhooks").reset_health.sql, webhook)
        await trial.db.execute("delete from deliveries where webhook_id = $1", webhook)
        # The relays that were started are still running.
        assert [relay.exit_code for relay in trial.relays.started] == [None, None]


@pytest.mark.chaos
async def test_a_receiver_that_closes_kept_alive_connections_at_the_worst_moment(
    start_trial: StartTrial, settings: Settings
) -> None:
    async with start_trial("keep-alive closed at the worst moment") as trial:
        trial.may_repeat = False
        async with closing_kept_alive(0.0) as (at_once, _), closing_kept_alive(0.02) as (soon, _):
            webhooks = [(await add_webhook(trial.db, settings, url, ["item-created"])).id for url in (at_once, soon)]
            await trial.relays.start(2)
            trial.load.start()
            await trial.recovers()

            async def enough() -> bool:
                return len(trial.load.committed) > 300

            await until(enough, "some hundred events are written", PATIENCE)
            trial.times = 2
            await trial.load.stop()
            await trial.relays.idle()
            rows = await trial.db.fetch(
                "select outcome, count(*) from attempts where webhook_id = any ($1) group by 1", webhooks
            )
        outcomes = {row["outcome"]: row["count"] for row in rows}
        assert outcomes["success"] == 2 * len(trial.load.committed)
        assert set(outcomes) <= {"success", "retry"}
