"""The permissions for the routes of checkouts.

read checkouts: all, all, assigned locations and own, own, own. check out: all but personnel.
authorise, reject: admin. cancel one that waits: any, own, own, own. check in: any, any, assigned
locations, own.
"""

from tests.support.contract.client import NOBODY
from tests.support.contract.permissions.table import (
    ADMIN_AND_SUPERVISOR,
    ADMIN_ONLY,
    ALL_BUT_PERSONNEL,
    SIGNED_IN,
    Request,
    Stage,
    row,
)


async def _wanted(stage: Stage) -> Request:
    place = await stage.location() if stage.case in {"assigned", "elsewhere"} else None
    item = await stage.admin.item(location_id=place)
    body = {"item_id": item["id"], "quantity": 2}
    return Request(body=body | ({"user_id": stage.others["worker"].id} if stage.case == "handed_out" else {}))


async def _waiting(stage: Stage) -> Request:
    """Own: the caller's. Assigned: another's, of an item at a location of the foreman. Other:
    another's, elsewhere."""
    location = await stage.location()
    item = await stage.admin.item(location_id=location)
    own = stage.case == "own" and stage.role != NOBODY
    holder = stage.owner if own else stage.others["worker"]
    if own and stage.role == "foreman":
        await stage.admin.post(f"/locations/{location}/foremen", {"user_id": holder.id})
    checkout = await holder.post("/checkouts/checkout", {"item_id": item["id"], "quantity": 2})
    if own and stage.role == "foreman":
        # A checkout stays the foreman's own when the location is no longer assigned.
        await stage.admin.delete(f"/locations/{location}/foremen/{holder.id}")
    return Request({"id": checkout["id"]})


async def _active(stage: Stage) -> Request:
    waiting = await _waiting(stage)
    if not (stage.case == "own" and stage.role == "admin"):
        await stage.admin.post(f"/checkouts/{waiting.path['id']}/authorize")
    return Request(waiting.path, {"quantity": 1})


# Personnel check nothing out, and a checkout by an admin does not wait.
_OWN = "ok ok ok ok - 401"
TABLE = [
    row("GET /checkouts", any=SIGNED_IN),
    row(
        "POST /checkouts/checkout",
        _wanted,
        assigned=ALL_BUT_PERSONNEL,
        nowhere=ALL_BUT_PERSONNEL,
        elsewhere="ok ok 403 ok 403 401",
        handed_out="ok ok 403 403 403 401",
    ),
    row("GET /checkouts/{id}", _waiting, own=_OWN, assigned="ok ok ok 403 403 401", other=ADMIN_AND_SUPERVISOR),
    row("POST /checkouts/{id}/authorize", _waiting, own="- 403 403 403 - 401", assigned=ADMIN_ONLY, other=ADMIN_ONLY),
    row("POST /checkouts/{id}/reject", _waiting, own="- 403 403 403 - 401", assigned=ADMIN_ONLY, other=ADMIN_ONLY),
    row("POST /checkouts/{id}/cancel", _waiting, own="- ok ok ok - 401", assigned=ADMIN_ONLY, other=ADMIN_ONLY),
    row(
        "POST /checkouts/{id}/checkin",
        _active,
        own="ok ok 403 ok - 401",
        assigned="ok ok ok 403 403 401",
        other=ADMIN_AND_SUPERVISOR,
    ),
]
