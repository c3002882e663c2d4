"""A handler takes a Call and returns a Reply."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from uuid import UUID

from aiohttp import web
from pydantic import BaseModel

from service.platform.db import Pool
from service.platform.errors import Forbidden, NotFound
from service.platform.etag import tag_of
from service.platform.ids import parse_id
from service.platform.outage import Watch
from service.platform.settings import Settings
from service.platform.vault import Vault
from service.records import Origin

SETTINGS = web.AppKey("settings", Settings)
POOL: web.AppKey[Pool] = web.AppKey("pool", Any)  # type: ignore[arg-type]  # asyncpg.Pool is generic only for type checkers
DATABASE = web.AppKey("database", Watch)
VAULT = web.AppKey("vault", Vault)

REQUEST_ID = web.RequestKey("request_id", str)

ADMIN = "admin"
ROLES = ("admin", "supervisor", "foreman", "worker", "personnel")


class Nothing(BaseModel):
    """No body, or no query parameters."""


class Csv(BaseModel):
    """A body of text/csv, not parsed."""

    raw: bytes


BodyT = TypeVar("BodyT", bound=BaseModel)
QueryT = TypeVar("QueryT", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Principal:
    """The signed-in user. It is read from the database at each request, so that a change of role or
    a logout counts at once."""

    user_id: UUID
    session_id: UUID
    username: str
    email: str
    full_name: str
    role: str

    @property
    def is_admin(self) -> bool:
        return self.role == ADMIN


@dataclass(frozen=True, slots=True)
class Call(Generic[BodyT, QueryT]):
    """One request, parsed: `body` and `query` are valid.

    If the whole request is one transaction, `unit` is its connection, and `pool` returns `unit`.
    """

    request: web.Request
    body: BodyT
    query: QueryT
    origin: Origin
    principal: Principal | None = None
    unit: "Pool | None" = None

    @property
    def user(self) -> Principal:
        """The signed-in user. Every route that is not public has one."""
        assert self.principal is not None, "a public route has no user"
        return self.principal

    @property
    def settings(self) -> Settings:
        return self.request.app[SETTINGS]

    @property
    def pool(self) -> Pool:
        return self.unit or self.request.app[POOL]

    @property
    def vault(self) -> Vault:
        return self.request.app[VAULT]

    def path_id(self, name: str = "id") -> UUID:
        """The id in the path. Raises NotFound if it is not a UUID, because then it names
        nothing."""
        found = parse_id(self.request.match_info[name])
        if found is None:
            raise NotFound(
                f"no such {name}: {self.request.match_info[name]}" if name != "id" else "no object has this id"
            )
        return found

    def require(self, *roles: str) -> None:
        """Raises Forbidden unless the signed-in user has one of these roles."""
        if self.user.role not in roles:
            raise Forbidden(f"this needs the role {' or '.join(roles)}")


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer. `body` is a value that JSON can hold, or None for no content. If the route
    streams, `body` is an async iterator of bytes."""

    body: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


def tagged(body: Any, *, representation: object = None, status: int = 200) -> Reply:
    """An answer that shows one object, with its ETag.

    The tag is computed from `representation`, or from the body if that is None. The command that
    changes the object passes the same representation to Mutation.check_match.
    """
    return Reply(body, status, {"ETag": tag_of(body if representation is None else representation)})
