"""Models of the bodies and queries that the routes of users and sessions take."""

from typing import Annotated, Any, Literal

import orjson
from pydantic import BeforeValidator, Field, model_validator

from service.api.fields import Body, Name, Text
from service.api.paging import IdPage, NewestPage
from service.auth.fields import Email, Password, Role, Username, UserStatus

# The default of a field that a PUT may leave out. No code reads it: model_fields_set has the names
# of the fields that were sent.
_ABSENT: Any = Field(default_factory=lambda: None)


def _device_info(value: Any) -> Any:
    # Clients of the Node system send an object or a string. Events carry it as text.
    if not isinstance(value, dict):
        return value
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        raise ValueError("is nested too deep") from None


class Register(Body):
    username: Username
    email: Email
    password: Password
    full_name: Name | None = None


class Login(Body):
    """Both `username` and `email` accept a user name as well as an e-mail address."""

    username: Annotated[Text, Field(max_length=254)] | None = None
    email: Annotated[Text, Field(max_length=254)] | None = None
    password: Annotated[Text, Field(max_length=200)]
    deviceInfo: Annotated[Annotated[Text, Field(max_length=500)] | None, BeforeValidator(_device_info)] = None

    @model_validator(mode="after")
    def _someone(self) -> "Login":
        if not self.identifier:
            raise ValueError("username or email is needed")
        return self

    @property
    def identifier(self) -> str:
        return self.username or self.email or ""


class RefreshBody(Body):
    refreshToken: Annotated[Text, Field(min_length=1, max_length=4096)]


class UserQuery(IdPage):
    """`search` finds a text in the user name, the e-mail address or the full name."""

    role: Role | None = None
    status: UserStatus | None = None
    search: Annotated[Text, Field(max_length=255)] | None = None


class CreateUser(Body):
    username: Username
    email: Email
    password: Password
    full_name: Name | None = None
    role: Role = "worker"
    status: UserStatus = "active"


class UpdateUser(Body):
    """Any subset of the fields."""

    username: Username = _ABSENT
    email: Email = _ABSENT
    full_name: Name = _ABSENT
    role: Role = _ABSENT
    status: UserStatus = _ABSENT
    password: Password = _ABSENT


class SessionQuery(NewestPage):
    status: Literal["active", "ended", "all"] = "active"


class ChangePassword(Body):
    currentPassword: Annotated[Text, Field(max_length=200)]
    newPassword: Password
