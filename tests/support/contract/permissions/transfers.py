"""The permissions for the routes of transfers.

read transfers: all, all, assigned locations and own, own, own. request: a foreman from assigned
locations. approve, reject: admin, supervisor. dispatch, complete, cancel: admin, supervisor, and
own.
"""

from tests.support.contract.client import Client
from tests.support.contract.permissions.table import (
    ADMIN_AND_SUPERVISOR,
    ALL_BUT_FOREMAN,
    SIGNED_IN,
    Request,
    Stage,
    row,
)


async def _wanted(stage: Stage) -> Request:
    place = await stage.location()
    item = await stage.admin.item(location_id=place)
    body = {
        "item_id": item["id"],
        "from_location_id": place,
        "to_location_id": await stage.admin.location(),
        "quantity": 2,
        "reason": "Needed there",
    }
    return Request(body=body)


async def _pending(stage: Stage) -> Request:
    """Own: requested by the caller. Assigned: another's, at a location of the foreman. Other:
    another's, elsewhere."""
    wanted = await _wanted(stage)
    requester = stage.owner if stage.case == "own" else stage.admin
    place = wanted.body["from_location_id"]
    await _assign(stage, requester, place)
    transfer = await requester.post("/transfers", wanted.body)
    if requester.user is not None and requester.user.role == "foreman":
        # A transfer stays the foreman's own when the location is no longer assigned.
        await stage.admin.delete(f"/locations/{place}/foremen/{requester.id}")
    return Request({"id": transfer["id"]})


async def _assign(stage: Stage, requester: Client, place: str) -> None:
    if requester.user is not None and requester.user.role == "foreman":
        await stage.admin.post(f"/locations/{place}/foremen", {"user_id": requester.id})


async def _approved(stage: Stage) -> Request:
    pending = await _pending(stage)
    await stage.admin.post(f"/transfers/{pending.path['id']}/approve")
    return pending


async def _to_reject(stage: Stage) -> Request:
    return Request((await _pending(stage)).path, {"reason": "Not now"})


_READ = {"own": SIGNED_IN, "assigned": "ok ok ok 403 403 401", "other": ADMIN_AND_SUPERVISOR}
_DECIDE = {"own": ADMIN_AND_SUPERVISOR, "assigned": ADMIN_AND_SUPERVISOR, "other": ADMIN_AND_SUPERVISOR}
_MOVE = {"own": SIGNED_IN, "assigned": ADMIN_AND_SUPERVISOR, "other": ADMIN_AND_SUPERVISOR}
TABLE = [
    row("GET /transfers", any=SIGNED_IN),
    row("POST /transfers", _wanted, assigned=SIGNED_IN, elsewhere=ALL_BUT_FOREMAN),
    row("GET /transfers/{id}", _pending, **_READ),
    row("POST /transfers/{id}/approve", _pending, **_DECIDE),
    row("POST /transfers/{id}/reject", _to_reject, **_DECIDE),
    row("POST /transfers/{id}/dispatch", _approved, **_MOVE),
    row("POST /transfers/{id}/complete", _approved, **_MOVE),
    row("POST /transfers/{id}/cancel", _pending, **_MOVE),
]
