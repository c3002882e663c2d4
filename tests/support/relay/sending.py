"""The recorder and the dispatcher of a relay, in the test's process, on a real database."""

import asyncio
from uuid import UUID

import asyncpg

from relay.board import Board
from relay.claim.dispatch import Dispatcher
from relay.identity import Identity
from relay.lead.batch import Batch
from relay.record.record import Recorder
from relay.record.settle import Settler
from relay.rules.breaker import BreakerPolicy
from relay.rules.shares import Places
from relay.send.target import Targets
from relay.transport import HttpTransport
from relay.watch.outage import Outage
from service.platform.db import Pool
from service.platform.ids import new_id
from service.platform.queries import Executor, load
from service.platform.settings import Settings
from tests.support.database import Connection
from tests.support.relay.parts import Clock

_CLAIM = load("claim")


async def register(connection: Connection) -> UUID:
    relay_id = new_id()
    await connection.execute("insert into relays (id, version, host, pid) values ($1, '0', 'here', 1)", relay_id)
    return relay_id


async def claim_one(pool: Pool, relay_id: UUID, webhook_id: UUID) -> list[asyncpg.Record]:
    """The rows of a claim of one delivery of that lane."""
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
    """The recorder and the dispatcher of a relay, with their board and targets."""

    def __init__(self, pool: Pool, settings: Settings, relay_id: UUID, transport: HttpTransport, **limits: int) -> None:
        self.board, self.identity = Board(), Identity(relay_id)
        self.outage = Outage(self.board)
        policy = BreakerPolicy(settings.webhook_breaker_delay, settings.webhook_disable_after)
        self.recorder = Recorder(pool, self.board, self.outage, self.identity, Settler(policy, Clock(steady=True)))
        limits = {"concurrency": 8, "per_webhook": 8, "poll_seconds": 3600, "grace_seconds": 0, **limits}
        self.dispatcher = Dispatcher(
            pool,
            self.board,
            self.outage,
            self.identity,
            recorder=self.recorder,
            targets=Targets(settings.vault(), Places(limits["per_webhook"])),
            transport=transport,
            **limits,
        )
        self.offers = self.dispatcher.offers
        self.tasks = [asyncio.create_task(self.recorder.run()), asyncio.create_task(self.dispatcher.run())]

    async def take(self, connection: Executor, batch: Batch) -> None:
        """Hands over a batch that was leased to this relay, as the leader does."""
        await self.offers.take(connection, batch.leases, batch.versions, batch.moment)

    async def stop(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
