"""JSON that JavaScript reproduces byte for byte.

A receiver verifies `JSON.stringify(req.body.data)`, so what is signed must come back unchanged from JSON.parse followed by
JSON.stringify. That holds for orjson's compact output under the restrictions that `check` enforces.
"""

import re
from functools import lru_cache
from typing import TypeAlias

import orjson

Json: TypeAlias = "None | bool | int | float | str | list[Json] | dict[str, Json]"

MAX_INTEGER = 2**53
# An event's data, serialised: with the envelope around it the body stays within 64 KiB. sql/migrations holds the same number.
MAX_DATA_BYTES = 65_000
_MAX_DEPTH = 64
# JavaScript moves keys that look like array indexes to the front; it does so up to 2^32 - 2.
_INDEX = re.compile(r"(?:0|[1-9][0-9]{0,9})")
_SURROGATE = re.compile("[\ud800-\udfff]")


class NotReproducible(ValueError):
    """`data` has a value that JavaScript would not write as we do. Says which, and where."""


def dumps(value: dict[str, Json]) -> str:
    """Compact JSON of `value`, keys in insertion order, non-ASCII unescaped. Raises NotReproducible."""
    check(value)
    return orjson.dumps(value).decode()


def recanonicalise(text: str) -> tuple[str, dict[str, Json]]:
    """The same for JSON that somebody else wrote, psql say: what JavaScript would make of it, and the parsed object."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise NotReproducible(f"data is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise NotReproducible("data is not a JSON object")
    check(value)
    canonical = orjson.dumps(value)
    if len(canonical) > MAX_DATA_BYTES:
        raise NotReproducible(f"data is larger than {MAX_DATA_BYTES} bytes")
    return canonical.decode(), value


def check(value: Json, at: str = "data", depth: int = 0) -> None:
    """Raises NotReproducible if JavaScript would write `value` differently, or if it holds U+0000 or a lone surrogate.

    Every event passes through here, in the API and in fan-out: what most values are comes first, and a place is named only once
    something is wrong there.
    """
    if depth > _MAX_DEPTH:
        raise NotReproducible(f"{at} is nested more than {_MAX_DEPTH} deep")
    if isinstance(value, str):
        check_text(value, at)
    elif value is None or isinstance(value, bool):
        return
    elif isinstance(value, int):
        if abs(value) > MAX_INTEGER:
            raise NotReproducible(f"{at} is an integer beyond ±2^53")
    elif isinstance(value, dict):
        for key, inner in value.items():
            if not _is_plain(key):
                check_text(key, f"a key of {at}")
                raise NotReproducible(f"{at} has the key {key!r}, which JavaScript moves or drops")
            if type(inner) is str:
                if "\x00" not in inner and (inner.isascii() or not _SURROGATE.search(inner)):
                    continue
            elif inner is None or type(inner) is bool or (type(inner) is int and -MAX_INTEGER <= inner <= MAX_INTEGER):
                continue
            check(inner, f"{at}.{key}", depth + 1)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            check(inner, f"{at}[{number}]", depth + 1)
    elif isinstance(value, float):
        raise NotReproducible(f"{at} is a number that is not an integer; decimals travel as strings")
    else:
        raise NotReproducible(f"{at} is of a type that JSON does not have")


@lru_cache(maxsize=1024)
def _is_plain(key: str) -> bool:
    """Whether JavaScript leaves a key as and where it is. Events have few different ones."""
    if "\x00" in key or (not key.isascii() and _SURROGATE.search(key)) or key == "__proto__":
        return False
    return not (key[:1].isdigit() and _INDEX.fullmatch(key) and int(key) < 2**32 - 1)


def check_text(value: str, at: str) -> None:
    if "\x00" in value:
        raise NotReproducible(f"{at} holds U+0000")
    if not value.isascii() and _SURROGATE.search(value):
        raise NotReproducible(f"{at} holds a lone surrogate")
