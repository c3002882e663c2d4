"""What decides about passwords' owners and sessions; no I/O."""

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
    """A session as the database has it. `expired` is judged by the database's clock."""

    ended: bool
    expired: bool
    user_active: bool
    generation: int


def refusal(session: SessionState | None) -> str | None:
    """Why a token of this session is not accepted; None if it is."""
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
    # The token was exchanged before: one of the two who hold it has stolen it, and nobody can tell which.
    END_SESSION = "end session"


def decide_refresh(session: SessionState | None, generation: int) -> Refresh:
    """What a refresh token of `generation` does to its session."""
    if session is None or refusal(session) is not None or generation > session.generation:
        return Refresh.REFUSE
    return Refresh.ROTATE if generation == session.generation else Refresh.END_SESSION


def check_an_admin_remains(
    *, role: str, status: str, new_role: str | None, new_status: str | None, other_admins: int
) -> None:
    """Raises Unprocessable where a change would leave nobody who can administer. None as the new role and status: a removal."""
    was, stays = (role, status) == (ADMIN, "active"), (new_role, new_status) == (ADMIN, "active")
    if was and not stays and other_admins == 0:
        raise Unprocessable("this is the last active admin; make another user an admin first")
