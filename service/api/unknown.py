"""Finds query parameters and fields of a body that the route does not know.

An unknown query parameter is refused. An unknown field is refused if it is a known field in another
spelling. All other unknown fields are accepted and have no effect, so that a client can send back
whole objects with their id, times and statistics. The answer's X-Ignored-Fields names them.
"""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any, get_args
from urllib.parse import quote

from multidict import MultiMapping
from pydantic import AliasChoices, BaseModel

from service.platform.errors import BadRequest, FieldError

HEADER = "X-Ignored-Fields"
# How many names a header has, and how many characters of each.
MAX_NAMES = 20
MAX_NAME_CHARS = 64
# The search for the nearest parameter takes long. It is made for the first names only: for as many
# as an answer shows.
MAX_NEAR = 20


@dataclass(frozen=True, slots=True)
class _Field:
    """A field of a model. `names` are the names that the model accepts for it, the documented one
    first. `inner` is the model of the objects in the field, if there is one."""

    names: tuple[str, ...]
    inner: type[BaseModel] | None


@dataclass(frozen=True, slots=True)
class _Names:
    """The fields of a model, by each of their names, and by each name as `_fold` returns it."""

    fields: Mapping[str, _Field]
    folded: Mapping[str, _Field]


@cache
def _names(model: type[BaseModel]) -> _Names:
    fields: dict[str, _Field] = {}
    for own, info in model.model_fields.items():
        alias = info.validation_alias
        names = tuple(str(name) for name in alias.choices) if isinstance(alias, AliasChoices) else (str(alias or own),)
        field = _Field(names, _model_in(info.annotation))
        fields.update(dict.fromkeys(names, field))
    return _Names(MappingProxyType(fields), MappingProxyType({_fold(name): field for name, field in fields.items()}))


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model of the objects that a field holds. The annotation is that model, a list of it, or a
    union with None."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model_in(part)) is not None), None)


def _fold(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower()


def unknown_parameters(query: MultiMapping[str], model: type[BaseModel]) -> list[str]:
    """The query parameters that the route does not take. Names that begin with `_` are left out:
    clients add them to get past caches."""
    known = _names(model).fields
    return [name for name in dict.fromkeys(query) if name not in known and not name.startswith("_")]


def refusal_of_parameters(unknown: Sequence[str], model: type[BaseModel]) -> BadRequest:
    """The problem for unknown parameters. For each, it names the nearest parameter that the route
    takes, or all of them if none is near."""
    nearest = [_instead(name, model) for name in unknown[:MAX_NEAR]]
    reasons = [*nearest, *["is not a parameter of this route"] * (len(unknown) - len(nearest))]
    return _refusal([FieldError(f"?{_shown(name)}", reason) for name, reason in zip(unknown, reasons, strict=True)])


def check_given_once(query: MultiMapping[str]) -> None:
    """Raises BadRequest if a parameter is given twice, because one of its values would be
    ignored."""
    twice = [name for name in dict.fromkeys(query) if len(query.getall(name)) > 1 and not name.startswith("_")]
    if twice:
        raise _refusal([FieldError(f"?{_shown(name)}", "is given more than once") for name in twice])


def _instead(name: str, model: type[BaseModel]) -> str:
    names = _names(model)
    near = difflib.get_close_matches(_fold(name[:MAX_NAME_CHARS]), names.folded, n=1)
    if near:
        return f"is not a parameter of this route; did you mean ?{names.folded[near[0]].names[0]}"
    if names.fields:
        return "is not a parameter of this route, which takes " + ", ".join(f"?{known}" for known in names.fields)
    return "is not a parameter of this route, which takes none"


class Understood:
    """Finds what `value`, and the objects in it, have besides the fields of `model`.

    `misspelt` has an error for each field that is a known one in another spelling. `ignored` has
    the names of all other unknown fields.
    """

    def __init__(self, model: type[BaseModel], value: Mapping[str, Any]) -> None:
        self.misspelt: list[FieldError] = []
        self._ignored: dict[str, None] = {}
        self._look(_names(model), value, "", "")

    @property
    def ignored(self) -> list[str]:
        """Each name once, as in `filters.color` or `items[].color`."""
        return list(self._ignored)

    def _look(self, names: _Names, value: Mapping[str, Any], pointer: str, path: str) -> None:
        for name, inner in value.items():
            field = names.fields.get(name)
            if field is None:
                self._unknown(names, name, pointer, path)
            elif name != next(known for known in field.names if known in value):
                # The object has a field under several names. The first that the model lists counts.
                self._ignored[path + name] = None
            elif field.inner is not None:
                for step, label, member in _objects(inner):
                    self._look(_names(field.inner), member, f"{pointer}/{name}{step}", f"{path}{name}{label}.")

    def _unknown(self, names: _Names, name: str, pointer: str, path: str) -> None:
        meant = names.folded.get(_fold(name)) if len(name) <= MAX_NAME_CHARS else None
        if meant is None:
            self._ignored[path + name] = None
        else:
            self.misspelt.append(FieldError(f"{pointer}/{name}", f"is spelled {meant.names[0]} here"))


def _objects(value: Any) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """The objects in a field's value, each with its path: first as in a JSON pointer, then as in a
    name. The first object of a list has `/0` and `[]`. An object that is no list member has
    nothing."""
    if isinstance(value, dict):
        yield "", "", value
    elif isinstance(value, list):
        for number, member in enumerate(value):
            if isinstance(member, dict):
                yield f"/{number}", "[]", member


def header_value(names: Sequence[str]) -> str:
    """The value of the header with these names. It is bounded, and percent-encoded where a header
    needs that."""
    shown = [
        quote(name[:MAX_NAME_CHARS], safe="[].*?", errors="replace")[:MAX_NAME_CHARS] for name in names[:MAX_NAMES]
    ]
    more = len(names) - len(shown)
    return ", ".join([*shown, *([f"and {more} more"] if more else [])])


def _shown(name: str) -> str:
    """A name that a client has sent, shortened and made valid UTF-8 for an answer."""
    return name[:MAX_NAME_CHARS].encode("utf-8", "replace").decode()


def _refusal(errors: Sequence[FieldError]) -> BadRequest:
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return BadRequest(f"{errors[0].pointer}: {errors[0].detail}{more}", errors=errors)
