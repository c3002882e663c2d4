"""Reading what EXPLAIN says in JSON."""

from collections.abc import Iterator
from typing import Any


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A plan's nodes, each before those below it."""
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)
