"""What a table of permissions is made of. Each feature has a file beside this one with its TABLE."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from tests.support.contract.client import NOBODY, ROLES, Client
from tests.support.contract.ears import Listen

CALLERS = (*ROLES, NOBODY)

# One outcome a caller, in the order of CALLERS; `ok` is any 2xx, `-` a cell that cannot exist.
ANYBODY = "ok ok ok ok ok ok"
SIGNED_IN = "ok ok ok ok ok 401"
ADMIN_ONLY = "ok 403 403 403 403 401"
ADMIN_AND_SUPERVISOR = "ok ok 403 403 403 401"
ALL_BUT_FOREMAN = "ok ok 403 ok ok 401"
ALL_BUT_PERSONNEL = "ok ok ok ok 403 401"


@dataclass(frozen=True)
class Request:
    """What is asked in one cell. `caller`: who asks, where it is not the role's usual user. A body of bytes is CSV."""

    path: dict[str, str] = field(default_factory=dict)
    body: Any = None
    query: str = ""
    caller: Client | None = None


@dataclass(frozen=True)
class Stage:
    """One cell: a caller of `role` and an object of the kind `case`. `users` and `others` are two users of each role."""

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
        """Whose the object is: the caller's, or another's of the same role; for nobody it is an admin's."""
        role = "admin" if self.role == NOBODY else self.role
        return (self.users if self.case == "own" else self.others)[role]

    async def location(self) -> str:
        """A location that is the foreman's if the case is `assigned`."""
        assigned = (self.users["foreman"].id,) if self.case == "assigned" else ()
        return await self.admin.location(*assigned)


Prepare = Callable[[Stage], Awaitable[Request]]


async def nothing(_: Stage) -> Request:
    return Request()


@dataclass(frozen=True)
class Row:
    """A route, what is asked of it, and the outcomes by case. `may_conflict`: who may do it can still come too late, 409."""

    route: str
    prepare: Prepare
    outcomes: dict[str, str]
    may_conflict: bool = False

    def expected(self) -> dict[tuple[str, str], str]:
        """By case and caller."""
        return {
            (case, caller): outcome
            for case, outcomes in self.outcomes.items()
            for caller, outcome in zip(CALLERS, outcomes.split(), strict=True)
            if outcome != "-"
        }


def row(route: str, prepare: Prepare = nothing, **outcomes: str) -> Row:
    return Row(route, prepare, outcomes)
