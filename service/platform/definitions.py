"""Reads SQL functions and views from sql/functions and sql/views.

Each has one live text. `migrate` applies a text that has changed.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from graphlib import TopologicalSorter
from importlib.resources import files

# The folders, and the kind of object that a file in each defines.
_KINDS = {"functions": "function", "views": "view"}
_COMMENT = re.compile(r"--[^\n]*")


@dataclass(frozen=True, slots=True)
class Definition:
    """One function or view. `sql` begins with `create or replace`, so it can be applied any number
    of times. `checksum` is the SHA-256 of `sql` in hex."""

    name: str
    kind: str
    sql: str
    checksum: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@cache
def definitions() -> tuple[Definition, ...]:
    """All definitions. Each comes after the definitions that it uses."""
    texts: dict[str, tuple[str, str]] = {}
    for folder, kind in _KINDS.items():
        for entry in (files("sql") / folder).iterdir():
            name, _, extension = entry.name.rpartition(".")
            if extension == "sql":
                texts[name] = kind, entry.read_text(encoding="utf-8")
    return tuple(
        Definition(name, texts[name][0], texts[name][1], hashlib.sha256(texts[name][1].encode()).hexdigest())
        for name in in_order({name: sql for name, (_, sql) in texts.items()})
    )


def in_order(texts: Mapping[str, str]) -> list[str]:
    """The names of these texts, each after the names that its text mentions. Raises
    graphlib.CycleError.

    The order matters: PostgreSQL checks most texts at their creation, and a view cannot be created
    before a function that it calls.
    """
    mention = re.compile(rf"\b(?:{'|'.join(sorted(texts))})\b") if texts else re.compile(r"(?!)")
    uses = {name: set(mention.findall(_COMMENT.sub("", texts[name]))) - {name} for name in sorted(texts)}
    return list(TopologicalSorter(uses).static_order())
