"""Divides long work into slices, so that other requests go on between them."""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

# After this much work, other requests have their turn.
SLICE_SECONDS = 0.005
_In = TypeVar("_In")
_Out = TypeVar("_Out")


async def in_slices(rows: Iterable[_In], shown: Callable[[_In], _Out]) -> list[_Out]:
    """`[shown(row) for row in rows]`, for thousands of rows or for large ones."""
    made: list[_Out] = []
    end = time.perf_counter() + SLICE_SECONDS
    for row in rows:
        made.append(shown(row))
        if time.perf_counter() > end:
            await asyncio.sleep(0)
            end = time.perf_counter() + SLICE_SECONDS
    return made
