"""Long work is cut into slices, so that other tasks run between them."""

import asyncio

import pytest

from service.api import slices
from service.api.slices import in_slices


async def test_others_have_their_turn_between_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "SLICE_SECONDS", 0)
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(other())
    assert await in_slices(range(100), lambda row: -row) == [-row for row in range(100)]
    assert turns >= 100
    beside.cancel()
