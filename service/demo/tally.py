"""The deliveries that the receiver got, those that the log owed it, and the difference."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from service.demo.subscribe import Subscription
from service.platform.db import Pool
from service.platform.queries import load

_SQL = load("demo")
_OK = 200
Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Mark:
    """The point where the counting begins."""

    seq: int
    at: datetime


@dataclass(slots=True)
class Received:
    """The receiver's own record. `succeeded` counts its successful answers by webhook and event."""

    succeeded: Counter[Pair] = field(default_factory=Counter)
    retried: set[Pair] = field(default_factory=set)
    unverified: int = 0
    requests: int = 0
    latencies_ms: list[float] = field(default_factory=list)  # of first attempts

    def add(self, line: dict[str, Any]) -> None:
        """One request, as examples/receivers/python_stdlib.py prints it."""
        pair = (line["webhook"], line["event"])
        self.requests += 1
        if line["attempt"] == 1:
            self.latencies_ms.append(line["latencyMs"])
        else:
            self.retried.add(pair)
        if not line["verified"]:
            self.unverified += 1
        elif line["answer"] == _OK:
            self.succeeded[pair] += 1


@dataclass(frozen=True, slots=True)
class Tally:
    """The demo's result."""

    events: int
    owed: int
    delivered: int
    retried: int
    repeated: int
    unverified: int
    lost: int
    median_ms: float
    p95_ms: float

    @property
    def good(self) -> bool:
        return self.lost == 0 and self.unverified == 0 and self.delivered > 0


async def mark(pool: Pool) -> Mark:
    async with pool.acquire() as connection:
        row = await _SQL.mark.fetchrow(connection)
    assert row is not None
    return Mark(row["seq"], row["at"])


async def waiting(pool: Pool, subscriptions: Sequence[Subscription]) -> tuple[int, int]:
    """The number of events that are not fanned out yet, and of deliveries that these webhooks are
    still owed."""
    async with pool.acquire() as connection:
        row = await _SQL.waiting.fetchrow(connection, webhook_ids=[one.id for one in subscriptions])
    assert row is not None
    return row["outbox"], row["deliveries"]


async def relays_ready(pool: Pool, relays: int) -> bool:
    """Whether so many relays are alive, and one of them leads."""
    async with pool.acquire() as connection:
        return bool(await _SQL.relays_ready.fetchval(connection, relays=relays))


async def count(pool: Pool, since: Mark, received: Received, everything: Subscription, *others: Subscription) -> Tally:
    """Compares the database with the receiver's record.

    The log names deliveries to the demo's webhooks, and all of them are owed. So is every event to
    the webhook that asked for every event, whether or not the log names it. A delivery that fan-out
    counted and the log does not name is lost, too.
    """
    async with pool.acquire() as connection:
        written = await _SQL.written.fetch(connection, seq=since.seq, since=since.at)
        named = await _SQL.owed.fetch(connection, seq=since.seq, since=since.at)
    ours = {everything.id, *(one.id for one in others)}
    pairs = {(str(row["webhook_id"]), str(row["event_id"])) for row in named}
    owed = {pair for pair in pairs if pair[0] in ours} | {(everything.id, str(row["id"])) for row in written}
    unnamed = sum(row["deliveries"] or 0 for row in written) - len(pairs)
    delivered = owed & received.succeeded.keys()
    latencies = sorted(received.latencies_ms) or [0.0]
    return Tally(
        events=len(written),
        owed=len(owed),
        delivered=len(delivered),
        retried=len(received.retried),
        repeated=sum(times - 1 for times in received.succeeded.values()),
        unverified=received.unverified,
        lost=len(owed - delivered) + max(0, unnamed),
        median_ms=latencies[len(latencies) // 2],
        p95_ms=latencies[len(latencies) * 95 // 100],
    )
