"""The doorbell: how the leader sleeps without missing a commit, and without a NOTIFY in every
commit.

A writer's trigger tries lock D, shared, for its transaction. If D is refused, the leader sleeps,
and the writer sends NOTIFY. Before it sleeps, the leader takes D exclusively. If D is granted,
every writer that did not ring has ended. The leader's next look sees what they wrote, and any later
writer is refused D. So no commit falls between the look and the sleep.
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
# How long the leader waits, once, for writers in flight. Writers that begin meanwhile are refused
# D, so they ring, and commits with a NOTIFY take turns. The wait also holds a snapshot, which stops
# vacuum.
PATIENCE_MS = 3
# The pauses before the leader tries D again, if writers are still in flight. A transaction that
# stays open must not keep the leader busy.
BUSY_SECONDS = (0.001, 0.0015, 0.002, 0.003, 0.005)


# The end of a fan-out that tried to fall asleep. "work": there is something to do. "busy": there is
# nothing to do, but writers are in flight. "asleep": the leader holds D.
LeaderState: TypeAlias = Literal["work", "busy", "asleep"]


async def try_lock(connection: "asyncpg.Connection[asyncpg.Record]", object_id: int) -> bool:
    """Takes a session lock if it is free. Returns whether it did."""
    return bool(await _SQL.try_lock.fetchval(connection, class_id=LOCK_CLASS, object_id=object_id))


async def probe(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Raises an error of asyncpg if the connection, over which nothing has come for a while, has
    been lost. The caller limits the time: on a half-open connection no answer comes."""
    await _SQL.probe.fetchval(connection)
