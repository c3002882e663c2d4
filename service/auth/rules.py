"""Decisions about users and sessions, without I/O."""

from dataclasses import dataclass
from enum import Enum

from service.api.call import ADMIN
from service.platform.errors import Unprocessable

ENDED = "the session has ended; sign in again"
EXPIRED = "the session has expired; sign in again"
SUSPENDED = "this account is suspended"
FOREMAN = "foreman"


@dataclass(frozen=True, slots=True)
class SessionState:
    """The state of a session in the database. `expired` goes by the database's clock. `generation`
    is the number of the refresh token that is valid now."""

    ended: bool
    expired: bool
    user_active: bool
    generation: int


def refusal(session: SessionState | None) -> str | None:
    """The reason why a token of this session is refused. None if it is accepted."""
    if session is None or session.ended:
        return ENDED
    if session.expired:
        return EXPIRED
    if not session.user_active:
        return SUSPENDED
    return None


class Refresh(Enum):
    ROTATE = "rotate"
    REFUSE = "refuse"
    # The token was exchanged before, so two clients have it. One of them has stolen it, and the
    # service cannot know which.
    END_SESSION = "end session"


def decide_refresh(session: SessionState | None, generation: int) -> Refresh:
    """Decides what a refresh token of this generation does to its session."""
    if session is None or refusal(session) is not None or generation > session.generation:
        return Refresh.REFUSE
    return Refresh.ROTATE if generation == session.generation else Refresh.END_SESSION


def check_an_admin_remains(
    *, role: str, status: str, new_role: str | None, new_status: str | None, other_admins: int
) -> None:
    """Raises Unprocessable if a change would leave no active admin. For a removal, the new role and
    the new status are None. `other_admins` counts the other active admins."""
    was, stays = (role, status) == (ADMIN, "active"), (new_role, new_status) == (ADMIN, "active")
    if was and not stays and other_admins == 0:
        raise Unprocessable("this is the last active admin; make another user an admin first")
