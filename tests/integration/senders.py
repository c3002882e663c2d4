"""The sending side of a relay, in the test's own process: recorder and dispatcher on a real database."""

import asyncio
from collections.abc import Sequence
from uuid import UUID

import asyncpg

from relay.agenda import Agenda
from relay.breaker import BreakerPolicy
from relay.dispatch import Dispatcher
from relay.outage import Outage
from relay.record import Recorder
from relay.settle import Settler
from relay.shares import Places
from relay.target import Targets
from relay.transport import HttpTransport
from service.platform.db import Pool
from service.platform.ids import new_id
from service.platform.queries import load
from service.platform.settings import Settings
from tests.relays import Connection

_CLAIM = load("claim")


async def register(connection: Connection) -> UUID:
    relay_id = new_id()
    await connection.execute("insert into relays (id, version, host, pid) values ($1, '0', 'here', 1)", relay_id)
    return relay_id


async def claim_one(pool: Pool, relay_id: UUID | None, webhook_id: UUID) -> list[asyncpg.Record]:
    """What a claim of a single row of that lane gives."""
    return await _CLAIM.claim.fetch(
        pool,
        relay_id=relay_id,
        webhook_ids=[webhook_id],
        shares=[1],
        floors=[None],
        most=1,
        suspects=False,
        now=None,
    )


class Sending:
    """A relay's sending side in this process, with what it needs."""

    def __init__(self, pool: Pool, settings: Settings, relay_id: UUID, transport: HttpTransport, **limits: int) -> None:
        outage, lanes = Outage(), Agenda()
        self.lanes = lanes

        async def freed(_: Sequence[UUID]) -> None:
            pass

        self.recorder = Recorder(
            pool,
            outage,
            Settler(BreakerPolicy(settings.webhook_breaker_delay, settings.webhook_disable_after)),
            on_retry=lanes.due_in,
            on_freed=freed,
            on_room=lanes.changed.set,
        )
        self.recorder.relay_id = relay_id
        limits = {"concurrency": 8, "per_webhook": 8, "poll_seconds": 3600, **limits}
        self.dispatcher = Dispatcher(
            pool,
            outage,
            self.recorder,
            lanes,
            Targets(settings.vault(), Places(limits["per_webhook"])),
            transport,
            **limits,
        )
        outage.on_over = self.dispatcher.sweep_now
        self.tasks = [asyncio.create_task(self.recorder.run()), asyncio.create_task(self.dispatcher.run())]

    async def stop(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
