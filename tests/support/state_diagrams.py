"""The state diagrams of docs/DELIVERIES.md, and the values that a table accepts."""

import re
from collections.abc import AsyncIterator
from itertools import product
from typing import Any

import asyncpg

from tests.support.database import Connection
from tests.support.paths import DOCS

GUIDE = (DOCS / "DELIVERIES.md").read_text(encoding="utf-8")
BEGIN = "[*]"
Edge = tuple[str, str]


def drawn(heading: str) -> set[Edge]:
    """The edges of the diagram below a heading."""
    diagram = GUIDE.partition(f"## {heading}\n")[2].partition("```mermaid\n")[2].partition("```")[0]
    return set(re.findall(r"^ +(\S+) --> (\w+)", diagram, re.MULTILINE))


def states(edges: set[Edge]) -> set[str]:
    return {state for edge in edges for state in edge} - {BEGIN}


async def taken_by(
    connection: Connection, table: str, choices: dict[str, tuple[Any, ...]]
) -> AsyncIterator[dict[str, Any]]:
    """Set the one row of a table to every combination of values, and yield those that its
    constraints accept."""
    assignments = ", ".join(f"{name} = ${number}" for number, name in enumerate(choices, start=1))
    for values in product(*choices.values()):
        try:
            await connection.execute(f"update {table} set {assignments}", *values)
        except asyncpg.CheckViolationError:
            continue
        yield dict(zip(choices, values, strict=True))
