"""The permissions for the routes of users, the audit trail, item histories and the tree.

write users; read users, audit: admin. sessions: own; all through users. Item histories and the tree
are read as items are.
"""

from tests.support.contract.client import PASSWORD, unique
from tests.support.contract.permissions.auth import own_user
from tests.support.contract.permissions.inventory import READ, item
from tests.support.contract.permissions.table import ADMIN_ONLY, SIGNED_IN, Request, Stage, row


async def _new_user(_: Stage) -> Request:
    name = unique("matrix")
    return Request(body={"username": name, "email": f"{name}@example.org", "password": PASSWORD, "role": "foreman"})


async def _user(stage: Stage) -> Request:
    if stage.case == "own":
        return Request({"id": stage.owner.id}, {"full_name": "A Person"})
    user = await stage.admin.post("/users", (await _new_user(stage)).body)
    return Request({"id": user["id"]}, {"status": "suspended"})


async def _session_of_user(stage: Stage) -> Request:
    user = stage.owner.user
    assert user is not None
    session = (await stage.admin.sign_in(user.username)).user
    assert session is not None
    return Request({"id": user.id, "sessionId": session.session_id})


async def _session(stage: Stage) -> Request:
    return Request({"id": (await _session_of_user(stage)).path["sessionId"]})


async def _password(stage: Stage) -> Request:
    caller = (await own_user(stage)).caller
    return Request(body={"currentPassword": PASSWORD, "newPassword": PASSWORD}, caller=caller)


_NOT_EVEN_AN_ADMIN = "403 403 403 403 403 401"
_OWN_AND_OTHER = {"own": ADMIN_ONLY, "other": ADMIN_ONLY}
TABLE = [
    row("GET /auth/sessions", own=SIGNED_IN),
    row("DELETE /auth/sessions/{id}", _session, own=SIGNED_IN, other=_NOT_EVEN_AN_ADMIN),
    row("GET /auth/session-stats", own=SIGNED_IN),
    row("POST /auth/password", _password, own=SIGNED_IN),
    row("GET /users", any=ADMIN_ONLY),
    row("POST /users", _new_user, any=ADMIN_ONLY),
    row("GET /users/{id}", _user, **_OWN_AND_OTHER),
    row("PUT /users/{id}", _user, **_OWN_AND_OTHER),
    row("DELETE /users/{id}", _user, other=ADMIN_ONLY),
    row("GET /users/{id}/sessions", _user, **_OWN_AND_OTHER),
    row("DELETE /users/{id}/sessions/{sessionId}", _session_of_user, **_OWN_AND_OTHER),
    row("GET /audit", any=ADMIN_ONLY),
    row("GET /items/{id}/location-summary", item, nowhere=SIGNED_IN, **READ),
    row("GET /items/{id}/location-history", item, nowhere=SIGNED_IN, **READ),
    row("GET /categories/tree", any=SIGNED_IN),
]
