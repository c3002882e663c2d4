"""Fan-out without a relay, one batch or all batches."""

from uuid import UUID

import pytest

from relay.lead.fanout import FanOut
from service.platform.db import Pool
from tests.support.database import Connection

# Whether a writer gets the doorbell's lock, so that it need not ring.
RING = "select pg_try_advisory_xact_lock_shared(1246712659, 2)"
BOTH_WAYS = [pytest.param(False, id="by psql"), pytest.param(True, id="by the service")]


async def drain(pool: Pool) -> None:
    fanout = FanOut(pool)
    while (await fanout.batch()).taken:
        pass


async def wake(leader: Connection) -> int:
    """The number of events that the first look after a sleep moves. The leader stays awake."""
    return (await FanOut(leader).batch(release_first=True)).events


async def queued(connection: Connection) -> set[tuple[UUID, UUID]]:
    return {tuple(row) for row in await connection.fetch("select webhook_id, event_id from deliveries")}
