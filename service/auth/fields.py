"""Types of users' fields, and users and sessions as the API shows them."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

import asyncpg
from pydantic import AfterValidator, Field
from typing_extensions import TypedDict

from service.api.fields import Text
from service.platform.clock import iso, iso_or_none

_USERNAME = re.compile(r"[A-Za-z0-9._-]{3,50}")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
Row: TypeAlias = "asyncpg.Record | Mapping[str, Any]"


def check_username(value: str) -> str:
    """Raises ValueError."""
    if not _USERNAME.fullmatch(value):
        raise ValueError("takes 3 to 50 letters (A to Z), digits, dots, underscores and hyphens")
    return value


def check_email(value: str) -> str:
    """Raises ValueError. The check is loose, because only a message to an address shows whether it
    exists."""
    if not _EMAIL.fullmatch(value):
        raise ValueError("is not an e-mail address")
    return value


Username = Annotated[
    Text, Field(json_schema_extra={"pattern": f"^{_USERNAME.pattern}$"}), AfterValidator(check_username)
]
Email = Annotated[
    Text, Field(max_length=254, json_schema_extra={"pattern": f"^{_EMAIL.pattern}$"}), AfterValidator(check_email)
]
Password = Annotated[Text, Field(min_length=8, max_length=200)]


Role = Literal["admin", "supervisor", "foreman", "worker", "personnel"]
UserStatus = Literal["active", "suspended"]


class UserView(TypedDict):
    """A user as the API shows it, without the password's hash."""

    id: str
    username: str
    email: str
    full_name: str
    role: Role
    status: UserStatus
    created_at: str
    updated_at: str


class SessionView(TypedDict):
    """A session as the API shows it. `current` marks the session of the request. An expired session
    has no `ended_at`."""

    id: str
    current: bool
    created_at: str
    last_used_at: str
    expires_at: str
    ended_at: str | None
    end_reason: str | None
    user_agent: str | None
    ip_address: str | None
    device_info: str | None


def user_view(row: Row) -> UserView:
    return {
        "id": str(row["id"]),
        "username": row["username"],
        "email": row["email"],
        "full_name": row["full_name"],
        "role": row["role"],
        "status": row["status"],
        "created_at": iso(row["created_at"]),
        "updated_at": iso(row["updated_at"]),
    }


def session_view(row: Row, current: object) -> SessionView:
    """`current` is the id of the session of the request."""
    return {
        "id": str(row["id"]),
        "current": row["id"] == current,
        "created_at": iso(row["created_at"]),
        "last_used_at": iso(row["last_used_at"]),
        "expires_at": iso(row["expires_at"]),
        "ended_at": iso_or_none(row["ended_at"]),
        "end_reason": row["end_reason"],
        "user_agent": row["user_agent"],
        "ip_address": row["ip_address"],
        "device_info": row["device_info"],
    }


def who(row: Row) -> dict[str, Any]:
    """The data that every event about a user has."""
    return {"userId": row["id"], "username": row["username"], "email": row["email"], "role": row["role"]}
