"""Says which requests are costly. COSTS has every route: a test fails for one that is missing.

A request is costly if it reads many rows for one answer: it searches without an index, counts, sums
up, or goes through the log. Only a few such requests are admitted at a time
(service.api.admission). Most changes are cheap, because a request's body bounds how much it can
write.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias

from service.api.call import Call
from service.api.paging import Page

# None means cheap. An import has a place of its own, because it holds that for tens of seconds.
Admitted: TypeAlias = Literal["costly", "import"] | None
Cost = Callable[[Call[Any, Any]], Admitted]
# A page that `skip` moves further on than this is costly: it reads all the rows before it.
CHEAP_SKIP = 10_000
_OF_PAGES = frozenset({"skip", "limit", "cursor"})


def _cheap(_: Call[Any, Any]) -> Admitted:
    return None


def _costly(_: Call[Any, Any]) -> Admitted:
    return "costly"


def _import(_: Call[Any, Any]) -> Admitted:
    return "import"


def _within(_: Call[Any, Any]) -> Admitted:
    """The handler asks for admission by itself: it also waits, or only a part of its work is
    costly."""
    return None


def _list(*indexed: str) -> Cost:
    """The cost of a list. `indexed` names the filters that have an index. The list is costly in
    each of these cases:

    - A filter has no index.
    - Two filters are given. Each of them may match many rows, and both together only a few.
    - A foreman asks. The list then checks each row for whether the foreman may see it.
    - It skips many rows.
    """
    filters = set(indexed)
    cheap = _OF_PAGES | filters | {"sort"}

    def cost(call: Call[Any, Any]) -> Admitted:
        query = call.query
        given = {name for name in query.model_fields_set if getattr(query, name) is not None}
        far = isinstance(query, Page) and query.skip > CHEAP_SKIP
        costly = (
            far
            or not given <= cheap
            or len(given & filters) > 1
            or (call.principal is not None and call.principal.role == "foreman")
        )
        return "costly" if costly else None

    return cost


COSTS: Mapping[str, Cost] = {
    # Lists. The handler of GET /items first looks for the page in the index of its order. If that
    # does not fill the page, the items have to be sorted, and the handler asks for admission.
    "GET /items": _list("category_id", "location_id", "serial_number"),
    "GET /transfers": _list("status", "item_id", "location_id"),
    "GET /checkouts": _list("status", "item_id", "user_id"),
    "GET /locations": _list(),
    "GET /categories": _list(),
    "GET /users": _list(),
    "GET /webhooks/{id}/events": _list("status"),
    "GET /webhooks/{id}/replays": _list(),
    "GET /relays": _list(),
    # These go through many rows for one answer.
    "GET /audit": _costly,
    "GET /auth/sessions": _costly,
    "GET /auth/session-stats": _costly,
    "GET /users/{id}/sessions": _costly,
    "GET /items/{id}/location-summary": _costly,
    "GET /items/{id}/location-history": _costly,
    "GET /categories/tree": _costly,
    "GET /webhooks": _costly,
    "GET /events/{id}/explain": _costly,
    "POST /webhooks/{id}/replay": _costly,
    # These write hundreds of rows, and hold a connection meanwhile.
    "POST /items/bulk": _costly,
    "POST /items/import": _import,
    # The export asks for admission for each piece.
    "GET /items/export": _within,
    # A stream is costly only while it reads from far back in the log. It is cheap near the end, and
    # while it waits.
    "GET /webhooks/{id}/stream": _within,
    # These find one object by its id, or read none.
    "GET /auth/profile": _cheap,
    "GET /auth/verify-session": _cheap,
    "GET /items/{id}": _cheap,
    "GET /locations/{id}": _cheap,
    "GET /categories/{id}": _cheap,
    "GET /transfers/{id}": _cheap,
    "GET /checkouts/{id}": _cheap,
    "GET /users/{id}": _cheap,
    "GET /webhooks/{id}": _cheap,
    "GET /webhooks/{id}/stats": _cheap,
    "GET /webhooks/{id}/events/{eventId}": _cheap,
    "GET /webhooks/{id}/replays/{jobId}": _cheap,
    "GET /health": _cheap,
    "GET /openapi.json": _cheap,
    "GET /asyncapi.json": _cheap,
    # Changes.
    "POST /auth/register": _cheap,
    "POST /auth/login": _cheap,
    "POST /auth/refresh": _cheap,
    "POST /auth/logout": _cheap,
    "POST /auth/logout-all": _cheap,
    "POST /auth/password": _cheap,
    "DELETE /auth/sessions/{id}": _cheap,
    "POST /users": _cheap,
    "PUT /users/{id}": _cheap,
    "DELETE /users/{id}": _cheap,
    "DELETE /users/{id}/sessions/{sessionId}": _cheap,
    "POST /items": _cheap,
    "PUT /items/{id}": _cheap,
    "DELETE /items/{id}": _cheap,
    "PUT /items/{id}/location": _cheap,
    "POST /locations": _cheap,
    "PUT /locations/{id}": _cheap,
    "DELETE /locations/{id}": _cheap,
    "POST /locations/{id}/foremen": _cheap,
    "DELETE /locations/{id}/foremen/{user_id}": _cheap,
    "POST /categories": _cheap,
    "PUT /categories/{id}": _cheap,
    "DELETE /categories/{id}": _cheap,
    "POST /transfers": _cheap,
    "POST /transfers/{id}/approve": _cheap,
    "POST /transfers/{id}/reject": _cheap,
    "POST /transfers/{id}/dispatch": _cheap,
    "POST /transfers/{id}/complete": _cheap,
    "POST /transfers/{id}/cancel": _cheap,
    "POST /checkouts/checkout": _cheap,
    "POST /checkouts/{id}/authorize": _cheap,
    "POST /checkouts/{id}/reject": _cheap,
    "POST /checkouts/{id}/cancel": _cheap,
    "POST /checkouts/{id}/checkin": _cheap,
    "POST /webhooks": _cheap,
    "PUT /webhooks/{id}": _cheap,
    "POST /webhooks/{id}/secret/rotate": _cheap,
    "DELETE /webhooks/{id}": _cheap,
    "POST /webhooks/{id}/test": _cheap,
    "POST /webhooks/{id}/events/{eventId}/retry": _cheap,
    "POST /webhooks/{id}/events/{eventId}/skip": _cheap,
    "DELETE /webhooks/{id}/replays/{jobId}": _cheap,
}


def may_be_costly(method: str, path: str) -> bool:
    """Whether a request of this route may be refused because the user has other costly requests."""
    return cost_of(method, path) not in {_cheap, _import}


def cost_of(method: str, path: str) -> Cost:
    """The cost of a route. A route that is not listed counts as cheap."""
    return COSTS.get(f"{method} {path}", _cheap)
