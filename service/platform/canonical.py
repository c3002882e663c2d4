"""Writes JSON that JavaScript reproduces byte for byte.

A receiver verifies the signature over `JSON.stringify(req.body.data)`. So the signed text must come
back unchanged from JSON.parse followed by JSON.stringify. orjson's compact output does, within the
restrictions that `check` enforces.
"""

import re
from functools import lru_cache
from typing import TypeAlias

import orjson

Json: TypeAlias = "None | bool | int | float | str | list[Json] | dict[str, Json]"

MAX_INTEGER = 2**53
# The limit of an event's serialised data. With the envelope around it, the body stays within 64
# KiB. The constraints in sql/migrations have the same number.
MAX_DATA_BYTES = 65_000
_MAX_DEPTH = 64
# JavaScript moves keys that look like array indexes to the front. The largest is 2^32 - 2.
_INDEX = re.compile(r"(?:0|[1-9][0-9]{0,9})")
_SURROGATE = re.compile("[\ud800-\udfff]")


class NotReproducible(ValueError):
    """`data` has a value that JavaScript would write differently. The message says which, and
    where."""


def dumps(value: dict[str, Json]) -> str:
    """Compact JSON of `value`, with its keys in the order of insertion, and non-ASCII characters
    not escaped. Raises NotReproducible."""
    check(value)
    return orjson.dumps(value).decode()


def recanonicalise(text: str) -> tuple[str, dict[str, Json]]:
    """Rewrites JSON from elsewhere, such as psql, as JavaScript would write it. Returns that text
    and the parsed object. Raises NotReproducible."""
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
    """Raises NotReproducible if JavaScript would write `value` differently, or if it contains
    U+0000 or a lone surrogate. `at` is the path to `value`, for the message.

    Speed matters, because the API and fan-out check every event. So the most frequent types are
    tested first, and the path of a member is built only if the member needs a closer look.
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
    """Whether JavaScript keeps a key unchanged and in its place. Events have few different keys, so
    the results are cached."""
    if "\x00" in key or (not key.isascii() and _SURROGATE.search(key)) or key == "__proto__":
        return False
    return not (key[:1].isdigit() and _INDEX.fullmatch(key) and int(key) < 2**32 - 1)


def check_text(value: str, at: str) -> None:
    """Raises NotReproducible if the text contains U+0000 or a lone surrogate."""
    if "\x00" in value:
        raise NotReproducible(f"{at} holds U+0000")
    if not value.isascii() and _SURROGATE.search(value):
        raise NotReproducible(f"{at} holds a lone surrogate")
