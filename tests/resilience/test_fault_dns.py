"""Names that hang, fail, flap or change their addresses, beside a name that works."""

import asyncio
import sys
from collections.abc import Iterator
from itertools import cycle

import pytest

from service.platform.settings import Settings
from tests.support.paths import ROOT
from tests.support.receivers.dns_server import NXDOMAIN, SERVFAIL, Script, names
from tests.support.rows import add_webhook
from tests.support.trials.trial import PATIENCE, HowOften, StartTrial
from tests.support.waiting import until

RESOLVING = (sys.executable, "-m", "tests.support.relay.resolving_relay")
# So few that the breaker stays closed, and each is tried.
EVENTS = 4
HERE, NOBODY = "127.0.0.1", "127.0.0.9"


@pytest.mark.chaos
async def test_names_that_hang_fail_flap_or_change(
    start_trial: StartTrial, settings: Settings, how_often: HowOften
) -> None:
    flapping: Iterator[list[str] | int] = cycle([[HERE], SERVFAIL, SERVFAIL])
    # First an address where nothing listens, and then the receiver's new address.
    changing = cycle([[NOBODY], [HERE]])
    # Both are well after each disturbance. Otherwise retries and probes that are unlucky again and
    # again wait for minutes.
    disturbed = asyncio.Event()
    scripts: dict[str, Script] = {
        "well.test": lambda: [HERE],
        "hangs.test": lambda: None,
        "fails.test": lambda: NXDOMAIN,
        "flaps.test": lambda: next(flapping) if disturbed.is_set() else [HERE],
        "changes.test": lambda: next(changing) if disturbed.is_set() else [HERE],
    }
    async with names(scripts, ttl=0) as dns, start_trial("DNS hangs, fails, flaps, changes", per_second=20) as trial:
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
            TRIAL_NAMESERVER=dns.address,
            WEBHOOK_BREAKER_DELAY="500",
        )
        await trial.db.execute(
            """insert into outbox (type, data) select 'item-deleted', '{"name":"x"}' from generate_series(1, $1)""",
            EVENTS,
        )
        trial.load.start()
        for _ in range(how_often(4, 1)):
            trial.times += 1
            disturbed.set()
            before = len(trial.load.committed)

            async def more(before: int = before) -> bool:
                return len(trial.load.committed) >= before + 50

            await until(more, "events are written", PATIENCE)
            disturbed.clear()
            await trial.recovers()

        async def over() -> bool:
            failed = await trial.db.fetchval(
                "select count(*) from attempts where webhook_id = any ($1) and outcome = 'failed'", ill
            )
            return bool(failed == EVENTS * len(ill))

        await until(over, "what is owed to names that do not resolve ends as failed", PATIENCE)
