"""The parts of a table of permissions. Each feature has a file beside this one with its TABLE."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from tests.support.api.caller import ROLES
from tests.support.contract.client import NOBODY, Client
from tests.support.contract.ears import Listen

CALLERS = (*ROLES, NOBODY)

# One outcome for each caller, in the order of CALLERS. `ok` is any 2xx, and `-` a cell that cannot
# exist.
ANYBODY = "ok ok ok ok ok ok"
SIGNED_IN = "ok ok ok ok ok 401"
ADMIN_ONLY = "ok 403 403 403 403 401"
ADMIN_AND_SUPERVISOR = "ok ok 403 403 403 401"
ALL_BUT_FOREMAN = "ok ok 403 ok ok 401"
ALL_BUT_PERSONNEL = "ok ok ok ok 403 401"


@dataclass(frozen=True)
class Request:
    """The request of one cell. `caller` sends it, if it is not the role's usual user. A body of
    bytes is CSV."""

    path: dict[str, str] = field(default_factory=dict)
    body: Any = None
    query: str = ""
    caller: Client | None = None


@dataclass(frozen=True)
class Stage:
    """One cell: a caller of `role` and an object of the kind `case`. `users` and `others` are two
    users of each role."""

    role: str
    case: str
    users: dict[str, Client]
    others: dict[str, Client]
    listen: Listen

    @property
    def admin(self) -> Client:
        return self.others["admin"]

    @property
    def owner(self) -> Client:
        """The owner of the object: the caller, or another user of the same role. For nobody it is
        an admin."""
        role = "admin" if self.role == NOBODY else self.role
        return (self.users if self.case == "own" else self.others)[role]

    async def location(self) -> str:
        """A location, which is assigned to the foreman if the case is `assigned`."""
        assigned = (self.users["foreman"].id,) if self.case == "assigned" else ()
        return await self.admin.location(*assigned)


Prepare = Callable[[Stage], Awaitable[Request]]


async def nothing(_: Stage) -> Request:
    return Request()


@dataclass(frozen=True)
class Row:
    """A route, its request, and the outcomes by case. `may_conflict`: an allowed caller may come
    too late and get 409."""

    route: str
    prepare: Prepare
    outcomes: dict[str, str]
    may_conflict: bool = False

    def expected(self) -> dict[tuple[str, str], str]:
        """The outcome of each case and caller."""
        return {
            (case, caller): outcome
            for case, outcomes in self.outcomes.items()
            for caller, outcome in zip(CALLERS, outcomes.split(), strict=True)
            if outcome != "-"
        }


def row(route: str, prepare: Prepare = nothing, **outcomes: str) -> Row:
    return Row(route, prepare, outcomes)
