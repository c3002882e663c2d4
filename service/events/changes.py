"""The changes of an object, in the form of `changes` in an event."""

from collections.abc import Mapping
from typing import Any

import orjson

from service.events.data import Changes

_LEFT_OUT = frozenset({"created_at", "updated_at"})


def diff(before: Mapping[str, Any], after: Mapping[str, Any]) -> Changes:
    """`{field: {from, to}}` for each field that differs, in the order of `after`. Empty if none
    does. `created_at` and `updated_at` are left out.

    `before` and `after` are an object as the API shows it. A value that is itself an object or a
    list becomes one JSON string, because free-form data may hold values that JavaScript would not
    write back byte for byte."""
    changes: Changes = {}
    for name, value in after.items():
        if name in _LEFT_OUT:
            continue
        old, new = _flat(before[name]), _flat(value)
        if old != new:
            changes[name] = {"from": old, "to": new}
    return changes


def _flat(value: Any) -> "str | int | bool | None":
    # As text, because inside an object or a list Python takes 1, 1.0 and True for equal.
    return orjson.dumps(value).decode() if isinstance(value, dict | list) else value
