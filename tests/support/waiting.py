"""Waiting for a condition."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

PATIENCE = 60.0
_TICK = 0.01
T = TypeVar("T")


async def until(condition: Callable[[], Awaitable[T]], what: str, patience: float = PATIENCE) -> T:
    """Wait until a condition holds, and return what it found. Raises AssertionError with `what`
    after `patience` seconds."""
    loop = asyncio.get_running_loop()
    end = loop.time() + patience
    while not (found := await condition()):
        if loop.time() > end:
            raise AssertionError(f"not within {patience} s: {what}")
        await asyncio.sleep(_TICK)
    return found
