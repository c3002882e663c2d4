"""Types of fields that several bodies and queries share."""

import re
from datetime import UTC, date, datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from service.platform import canonical
from service.platform.clock import parse_moment
from service.platform.ids import parse_id

MAX_INTEGER = 2**31 - 1
MAX_IDS = 500
_DECIMAL = re.compile(r"-?[0-9]{1,18}")
_BOOLEANS = {"true": True, "false": False}


class Body(BaseModel):
    """A request body. Fields that it does not know have no effect, as clients send whole objects
    back. `service.api.unknown` names them in the answer."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)


# Parameters that say where to go on. An empty one means the beginning, or is a mistake. So it is
# never the same as a missing one.
_PLACES = {"cursor", "after"}


class Query(BaseModel):
    """Query parameters. An empty parameter counts as not given, because a form also sends the
    filters that its user left empty."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _empty_is_absent(cls, value: dict[str, str]) -> dict[str, str]:
        return {name: text for name, text in value.items() if text or name in _PLACES}


def _text(value: str) -> str:
    canonical.check_text(value, "the text")
    return value


def _not_blank(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be blank")
    return value


def _integer(value: Any) -> Any:
    return int(value) if isinstance(value, str) and _DECIMAL.fullmatch(value) else value


def _boolean(value: Any) -> Any:
    return _BOOLEANS.get(value, value) if isinstance(value, str) else value


def _empty_is_null(value: Any) -> Any:
    return None if value == "" else value


def _id(value: Any) -> Any:
    if isinstance(value, UUID):
        return value
    if isinstance(value, str) and (parsed := parse_id(value)) is not None:
        return parsed
    raise ValueError("must be an id (a UUID)")


def _list_of_ids(value: list[UUID]) -> list[UUID]:
    return list(dict.fromkeys(value))


def _day(value: Any) -> Any:
    # Pydantic would read a number, or a string of digits, as seconds.
    if not isinstance(value, str) or value[4:5] != "-":
        raise ValueError("must be a date such as 2026-02-18")
    if len(value) == len("2026-02-18"):
        return value
    # Older clients send a date with a time. Its day in UTC counts.
    try:
        moment = datetime.fromisoformat(value)
        return (moment if moment.tzinfo is None else moment.astimezone(UTC)).date()
    except (ValueError, OverflowError):
        raise ValueError("must be a date such as 2026-02-18") from None


def _never_null(schema: dict[str, Any]) -> None:
    [real] = [choice for choice in schema.pop("anyOf") if choice != {"type": "null"}]
    schema.update(real)


# The default of a field that may be left out, but must not be null. None shows that it was left
# out.
OMITTED: Any = Field(default=None, json_schema_extra=_never_null)


def containing(search: str) -> str:
    """A pattern for LIKE that finds this text anywhere. `%`, `_` and `\\` in it have no special
    meaning."""
    literal = search.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{literal}%"


def _moment(value: str) -> datetime:
    # A plus that was not encoded arrives as a space.
    return parse_moment(value.replace(" ", "+"))


# An integer and a boolean of a body. The documents show only these types, but clients with forms
# send them as strings.
DECIMAL = BeforeValidator(_integer)
TRUE_OR_FALSE = BeforeValidator(_boolean)
# Any text without U+0000 and lone surrogates.
Text = Annotated[str, Field(strict=True), AfterValidator(_text)]
Name = Annotated[
    Text, Field(min_length=1, max_length=255, json_schema_extra={"pattern": r"\S"}), AfterValidator(_not_blank)
]
Description = Annotated[Text, Field(max_length=8000)]
Id = Annotated[UUID, BeforeValidator(_id)]
Ids = Annotated[list[Id], Field(max_length=MAX_IDS), AfterValidator(_list_of_ids)]
# A form sends a field that was left empty as "".
EMPTY_IS_NULL = BeforeValidator(_empty_is_null)
MaybeId = Annotated[Id | None, EMPTY_IS_NULL]
Count = Annotated[int, Field(strict=True, ge=0, le=MAX_INTEGER), DECIMAL]
# How many units of an item are taken, moved or brought back.
Units = Annotated[int, Field(strict=True, ge=1, le=MAX_INTEGER), DECIMAL]
Bool = Annotated[bool, Field(strict=True), TRUE_OR_FALSE]
Day = Annotated[date, BeforeValidator(_day)]
# A time in a query, with its offset from UTC.
Moment = Annotated[datetime, BeforeValidator(_moment)]
