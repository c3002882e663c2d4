"""Reading the relays, from the rows that they write about themselves."""

import asyncpg
from typing_extensions import TypedDict

from service.platform.clock import iso
from service.platform.db import Pool
from service.platform.queries import load

_SQL = load("relays")
# A relay writes its row each second. Its peers take it for dead if the row does not change for this
# long.
STALE_SECONDS = 5.0
_DECIMALS = 2


class Rates(TypedDict):
    """Deliveries and attempts a second, on average over about the last ten seconds."""

    delivered: float
    attempted: float


class RelayView(TypedDict):
    """`delivered` and `attempted` count since the relay started. If `alive` is false, the relay has
    not written its row since `seenAt`, and the figures are from then."""

    id: str
    version: str
    host: str
    startedAt: str
    seenAt: str
    alive: bool
    leader: bool
    inFlight: int
    delivered: int
    attempted: int
    rates: Rates


async def list_relays(pool: Pool) -> list[RelayView]:
    """All relays. There are only a handful."""
    return [_view(row) for row in await _SQL.list.fetch(pool, stale_seconds=STALE_SECONDS)]


def _view(row: asyncpg.Record) -> RelayView:
    return {
        "id": str(row["id"]),
        "version": row["version"],
        "host": row["host"],
        "startedAt": iso(row["started_at"]),
        "seenAt": iso(row["seen_at"]),
        "alive": row["alive"],
        "leader": row["leader"],
        "inFlight": row["in_flight"],
        "delivered": row["delivered"],
        "attempted": row["attempted"],
        "rates": {
            "delivered": round(row["deliver_rate"], _DECIMALS),
            "attempted": round(row["attempt_rate"], _DECIMALS),
        },
    }
