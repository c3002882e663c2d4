"""The relays that deliver: which there are, and what each says of itself."""

from typing_extensions import TypedDict

from service.api.call import ADMIN, Call, Nothing, Reply
from service.api.counts import Total
from service.api.paging import Page, page_headers
from service.api.routes import Route, route
from service.platform.clock import iso
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


async def list_relays(call: Call[Nothing, Page]) -> Reply:
    query = call.query
    # They are a handful: pages are there as clients know them of every list.
    rows = await _SQL.list.fetch(call.pool, stale_seconds=STALE_SECONDS)
    relays: list[RelayView] = [
        {
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
        for row in rows[query.skip : query.skip + query.limit]
    ]
    return Reply(relays, headers=page_headers(call.request, query, Total(len(rows))))


ROUTES: tuple[Route, ...] = (
    route("GET", "/relays", list_relays, "List the relays", query=Page, returns=list[RelayView], roles=(ADMIN,)),
)
