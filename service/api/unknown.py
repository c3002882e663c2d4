"""What a request holds that its route does not know.

A query parameter that the route does not know is refused, and so is a field of a body that is a
known one in another spelling. Other unknown fields are taken without effect, so that a client can
send back what it was given: an id, times, statistics. The answer's X-Ignored-Fields names them.
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
# Of a header: how many names, and how much of each. Of an answer: how many errors.
MAX_NAMES = 20
MAX_NAME_CHARS = 64
# To look for the nearest parameter takes long: as many names as an answer shows get one.
MAX_NEAR = 20


@dataclass(frozen=True, slots=True)
class _Field:
    """A field, with the names that a model takes it under; the first is the documented one.
    `inner`: the model of the objects in it."""

    names: tuple[str, ...]
    inner: type[BaseModel] | None


@dataclass(frozen=True, slots=True)
class _Names:
    """What a model takes: its fields by each of their names, and by each name as `_fold` gives it."""

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
    """The model of the objects that a field holds: itself, in a list, or beside None."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model_in(part)) is not None), None)


def _fold(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower()


def unknown_parameters(query: MultiMapping[str], model: type[BaseModel]) -> list[str]:
    """The query parameters that the route does not take. Names that begin with `_` are left out, as
    they serve to get past caches."""
    known = _names(model).fields
    return [name for name in dict.fromkeys(query) if name not in known and not name.startswith("_")]


def refusal_of_parameters(unknown: Sequence[str], model: type[BaseModel]) -> BadRequest:
    """Names the nearest parameter that the route takes, or all of them where none is near."""
    nearest = [_instead(name, model) for name in unknown[:MAX_NEAR]]
    reasons = [*nearest, *["is not a parameter of this route"] * (len(unknown) - len(nearest))]
    return _refusal([FieldError(f"?{_shown(name)}", reason) for name, reason in zip(unknown, reasons, strict=True)])


def check_given_once(query: MultiMapping[str]) -> None:
    """Raises BadRequest: of two values of a parameter one would be ignored."""
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
    """What the object `value`, and those in it, have besides the fields of `model`. `misspelt` has an
    error for each field that is a known one in another spelling, `ignored` the names of all others."""

    def __init__(self, model: type[BaseModel], value: Mapping[str, Any]) -> None:
        self.misspelt: list[FieldError] = []
        self._ignored: dict[str, None] = {}
        self._look(_names(model), value, "", "")

    @property
    def ignored(self) -> list[str]:
        """Each name once: `filters.color`, `items[].color`."""
        return list(self._ignored)

    def _look(self, names: _Names, value: Mapping[str, Any], pointer: str, path: str) -> None:
        for name, inner in value.items():
            field = names.fields.get(name)
            if field is None:
                self._unknown(names, name, pointer, path)
            elif name != next(known for known in field.names if known in value):
                # Of several names of one field the first counts.
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
    """The objects in a field's value, each with its steps in a pointer and in a name."""
    if isinstance(value, dict):
        yield "", "", value
    elif isinstance(value, list):
        for number, member in enumerate(value):
            if isinstance(member, dict):
                yield f"/{number}", "[]", member


def header_value(names: Sequence[str]) -> str:
    """The names as the header has them, bounded and percent-encoded where a header needs it."""
    shown = [
        quote(name[:MAX_NAME_CHARS], safe="[].*?", errors="replace")[:MAX_NAME_CHARS] for name in names[:MAX_NAMES]
    ]
    more = len(names) - len(shown)
    return ", ".join([*shown, *([f"and {more} more"] if more else [])])


def _shown(name: str) -> str:
    """A name that a client made up, fit for an answer."""
    return name[:MAX_NAME_CHARS].encode("utf-8", "replace").decode()


def _refusal(errors: Sequence[FieldError]) -> BadRequest:
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return BadRequest(f"{errors[0].pointer}: {errors[0].detail}{more}", errors=errors)
