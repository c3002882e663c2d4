"""Names that hang, fail, flap or change their addresses, beside others that are well."""

import sys
from itertools import cycle

import pytest

from service.platform.settings import Settings
from tests.relays import add_webhook, until
from tests.resilience.conftest import HowOften, StartTrial
from tests.resilience.scripted_dns import NXDOMAIN, SERVFAIL, Script, scripted_dns
from tests.resilience.trial import PATIENCE, ROOT

RESOLVING = (sys.executable, "-m", "tests.resilience.resolving_relay")
HERE, NOBODY = "127.0.0.1", "127.0.0.9"


@pytest.mark.chaos
async def test_names_that_hang_fail_flap_or_change(
    start_trial: StartTrial, settings: Settings, how_often: HowOften
) -> None:
    flapping = cycle([[HERE], SERVFAIL, SERVFAIL])
    # First an address where nobody listens, and then where the receiver has gone.
    changing = cycle([[NOBODY], [HERE]])
    scripts: dict[str, Script] = {
        "well.test": lambda: [HERE],
        "hangs.test": lambda: None,
        "fails.test": lambda: NXDOMAIN,
        "flaps.test": lambda: next(flapping),
        "changes.test": lambda: next(changing),
    }
    async with scripted_dns(scripts) as dns, start_trial("DNS hangs, fails, flaps, changes", per_second=20) as trial:
        trial.may_repeat = False
        port = trial.receiver.url.rpartition(":")[2]
        for name in ("well.test", "flaps.test", "changes.test"):
            webhook = await add_webhook(
                trial.db, settings, f"http://{name}:{port}/", ["item-created"], max_retries=20, retry_delay_ms=500
            )
            trial.webhooks.append(str(webhook.id))
        ill = [
            (
                await add_webhook(
                    trial.db, settings, f"http://{name}:{port}/", ["item-deleted"], max_retries=1, retry_delay_ms=100
                )
            ).id
            for name in ("hangs.test", "fails.test")
        ]
        await trial.relays.start(
            2,
            command=RESOLVING,
            PYTHONPATH=str(ROOT),
            TRIAL_NAMESERVER=f"127.0.0.1:{dns.port}",
            WEBHOOK_BREAKER_DELAY="500",
        )
        await trial.db.execute(
            """insert into outbox (type, data) select 'item-deleted', '{"name":"x"}' from generate_series(1, 12)"""
        )
        trial.load.start()
        for _ in range(how_often(4, 1)):
            trial.times += 1
            await trial.recovers()

        async def over() -> bool:
            return not await trial.db.fetchval(
                "select exists (select from deliveries where webhook_id = any ($1))", ill
            )

        await until(over, "what is owed to names that do not resolve ends as failed", PATIENCE)
        rows = await trial.db.fetch(
            "select distinct webhook_id, outcome from attempts where webhook_id = any ($1) and outcome <> 'retry'", ill
        )
        assert {(row["webhook_id"], row["outcome"]) for row in rows} == {(id, "failed") for id in ill}
