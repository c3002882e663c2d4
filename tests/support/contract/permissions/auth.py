"""The permissions for the routes of sessions.

sessions | own; all through users | own | own | own | own. Registration, login and refresh work
without signing in.
"""

from tests.support.contract.client import NOBODY, PASSWORD, unique
from tests.support.contract.permissions.table import ANYBODY, SIGNED_IN, Request, Stage, row


async def _registration(_: Stage) -> Request:
    name = unique("matrix")
    return Request(body={"username": name, "email": f"{name}@example.org", "password": PASSWORD})


async def _login(stage: Stage) -> Request:
    user = stage.owner.user
    assert user is not None
    return Request(body={"username": user.username, "password": PASSWORD})


async def _refresh(stage: Stage) -> Request:
    body = (await _login(stage)).body
    return Request(body={"refreshToken": (await stage.owner.post("/auth/login", body))["refreshToken"]})


async def _own_session(stage: Stage) -> Request:
    """A new session to end, so that the others stay."""
    if stage.role == NOBODY:
        return Request()
    user = stage.users[stage.role].user
    assert user is not None
    return Request(caller=await stage.admin.sign_in(user.username))


async def own_user(stage: Stage) -> Request:
    """The other user of the role. All sessions of this user may be ended, and the fixture signs in
    again."""
    if stage.role == NOBODY:
        return Request()
    user = stage.others[stage.role].user
    assert user is not None
    return Request(caller=await stage.users[stage.role].sign_in(user.username))


TABLE = [
    row("POST /auth/register", _registration, any=ANYBODY),
    row("POST /auth/login", _login, own=ANYBODY),
    row("POST /auth/refresh", _refresh, own=ANYBODY),
    row("POST /auth/logout", _own_session, own=SIGNED_IN),
    row("POST /auth/logout-all", own_user, own=SIGNED_IN),
    row("GET /auth/profile", own=SIGNED_IN),
    row("GET /auth/verify-session", own=SIGNED_IN),
]
