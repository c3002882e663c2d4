"""SQL functions and views: one live text each, in sql/functions and sql/views, which `migrate` applies when it changes."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from graphlib import TopologicalSorter
from importlib.resources import files

# The folders, and what a file in them defines.
_KINDS = {"functions": "function", "views": "view"}
_COMMENT = re.compile(r"--[^\n]*")


@dataclass(frozen=True, slots=True)
class Definition:
    """`sql` begins with `create or replace`, so it can be applied any number of times."""

    name: str
    kind: str
    sql: str
    checksum: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@cache
def definitions() -> tuple[Definition, ...]:
    """All of them. What a definition uses comes before it."""
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
    """The names of these texts, each after those that its text mentions. Raises graphlib.CycleError.

    PostgreSQL checks most texts when they are created, and a view cannot be created before a function that it calls.
    """
    mention = re.compile(rf"\b(?:{'|'.join(sorted(texts))})\b") if texts else re.compile(r"(?!)")
    uses = {name: set(mention.findall(_COMMENT.sub("", texts[name]))) - {name} for name in sorted(texts)}
    return list(TopologicalSorter(uses).static_order())
