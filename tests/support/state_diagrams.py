"""The state diagrams in docs/, and the states that a table accepts."""

import re
from collections.abc import AsyncIterator
from itertools import product
from typing import Any

import asyncpg

from tests.support.database import Connection
from tests.support.paths import DOCS

BEGIN = "[*]"
Edge = tuple[str, str]


def drawn(document: str, heading: str) -> set[Edge]:
    """The edges of the diagram below a heading of the document."""
    text = (DOCS / document).read_text(encoding="utf-8")
    diagram = text.partition(f"## {heading}\n")[2].partition("```mermaid\n")[2].partition("```")[0]
    edges = re.findall(r"^ +(\S+) --> (\w+)", diagram, re.MULTILINE)
    assert len(set(edges)) == len(edges), f"{document} draws an edge twice"
    return set(edges)


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
