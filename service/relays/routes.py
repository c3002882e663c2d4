"""The relays over HTTP."""

from service.api.call import ADMIN, Call, Nothing, Reply
from service.api.counts import Total
from service.api.paging import Page, page_headers
from service.api.routes import Route, route
from service.relays import reads
from service.relays.reads import RelayView


async def list_relays(call: Call[Nothing, Page]) -> Reply:
    """A page of the relays. They are few, but clients expect pages of every list."""
    query = call.query
    relays = await reads.list_relays(call.pool)
    page = relays[query.skip : query.skip + query.limit]
    return Reply(page, headers=page_headers(call.request, query, Total(len(relays))))


ROUTES: tuple[Route, ...] = (
    route("GET", "/relays", list_relays, "List the relays", query=Page, returns=list[RelayView], roles=(ADMIN,)),
)
