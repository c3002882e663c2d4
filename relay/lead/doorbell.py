"""The doorbell: how the leader sleeps without missing a wake, and without making every commit pay for a NOTIFY.

A writer's trigger tries lock D, shared, for its transaction. Refused means that the leader sleeps, and the writer notifies.
Before it sleeps the leader takes D, exclusively. Granted means that every writer that was let off has ended; what they wrote is
seen by one more look, and any later writer is refused. So no commit falls between the look and the sleep.
"""

from typing import Literal, TypeAlias

import asyncpg

from service.platform.queries import load

_SQL = load("doorbell")

LOCK_CLASS = 1246712659  # 'JOSS'; the same number stands in the function ring()
LOCK_LEADER = 1  # F
LOCK_DOORBELL = 2  # D

WAKE_CHANNEL = "jossiedb_wake"
WORK_CHANNEL = "jossiedb_work"
# How long the leader waits for writers that are in flight, once. Who begins meanwhile rings, whose commits then take turns; and a
# snapshot is held, which stops vacuum.
PATIENCE_MS = 3
# How long to leave those alone that take longer before trying D again: one that stays open must not keep the leader busy.
BUSY_SECONDS = (0.001, 0.0015, 0.002, 0.003, 0.005)


# What an attempt to fall asleep comes to, at the end of fan-out: there is something to do; there is not, but writers are in flight;
# the leader sleeps.
LeaderState: TypeAlias = Literal["work", "busy", "asleep"]


async def try_lock(connection: "asyncpg.Connection[asyncpg.Record]", object_id: int) -> bool:
    """Take a session lock if it is free."""
    return bool(await _SQL.try_lock.fetchval(connection, class_id=LOCK_CLASS, object_id=object_id))


async def probe(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Find out whether a connection that has nothing to say is still one."""
    await _SQL.probe.fetchval(connection)
