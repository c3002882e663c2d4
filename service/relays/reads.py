"""Which relays there are, and what each says of itself."""

import asyncpg
from typing_extensions import TypedDict

from service.platform.clock import iso
from service.platform.db import Pool
from service.platform.queries import load

_SQL = load("relays")
# A relay says each second that it is there; after so long its peers take it for dead.
STALE_SECONDS = 5.0
_DECIMALS = 2


class Rates(TypedDict):
    """A second, averaged over about the last ten."""

    delivered: float
    attempted: float


class RelayView(TypedDict):
    """`delivered` and `attempted` count since it started. Not `alive`: it has not been seen for some seconds, and what it says is
    from then."""

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
    """All: they are a handful."""
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
