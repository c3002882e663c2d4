"""Reading the JSON of EXPLAIN."""

from collections.abc import Iterator
from typing import Any


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The nodes of a plan, each before those below it."""
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)
