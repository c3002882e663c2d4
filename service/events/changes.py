"""What a mutation changed, as `changes` in an event shows it."""

from collections.abc import Mapping
from typing import Any

import orjson

from service.events.data import Changes

_UNTOLD = frozenset({"created_at", "updated_at"})


def diff(before: Mapping[str, Any], after: Mapping[str, Any]) -> Changes:
    """`{field: {from, to}}` for each field that differs, in the order of `after`; empty if none does.

    Takes objects as the API shows them. Objects and lists travel as one JSON string: free-form data may hold what
    JavaScript would not write back byte for byte. The times that every change moves are left out."""
    changes: Changes = {}
    for name, value in after.items():
        if name in _UNTOLD:
            continue
        old, new = _flat(before[name]), _flat(value)
        if old != new:
            changes[name] = {"from": old, "to": new}
    return changes


def _flat(value: Any) -> "str | int | bool | None":
    # Compared as text, because Python holds 1, 1.0 and True inside them for equal.
    return orjson.dumps(value).decode() if isinstance(value, dict | list) else value
