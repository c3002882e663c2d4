"""The route of the audit trail.

An entry says who did what, when and from where. It also names the events of the change.
"""

from service.api.call import ADMIN, Call, Nothing, Reply
from service.api.paging import cursor_page_headers
from service.api.routes import Route, route
from service.audit import reads
from service.audit.reads import AuditEntry, AuditQuery


async def _list(call: Call[Nothing, AuditQuery]) -> Reply:
    entries, keys, total = await reads.list_entries(call.pool, call.query)
    return Reply(entries, headers=cursor_page_headers(call.request, call.query, total, keys))


ROUTES: tuple[Route, ...] = (
    route(
        "GET",
        "/audit",
        _list,
        "List who did what, newest first",
        query=AuditQuery,
        returns=list[AuditEntry],
        roles=(ADMIN,),
    ),
)
