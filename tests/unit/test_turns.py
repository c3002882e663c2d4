"""Turns: what concerns one object happens in order, and objects do not wait for each other."""

import asyncio

import pytest

from service.platform.errors import Unavailable
from service.platform.turns import Turns


async def test_those_who_ask_for_one_object_take_turns_in_their_order() -> None:
    turns, order = Turns(60), []

    async def take(number: int) -> None:
        async with turns.of("item"):
            order.append(number)
            await asyncio.sleep(0)
            order.append(number)

    await asyncio.gather(*(take(number) for number in range(5)))
    assert order == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


async def test_another_object_does_not_wait() -> None:
    turns = Turns(60)
    async with turns.of("one"), turns.of("another"):
        pass


async def test_a_turn_that_does_not_come_in_time_is_refused_and_the_next_comes() -> None:
    turns = Turns(0.01)
    async with turns.of("item"):
        with pytest.raises(Unavailable):
            async with turns.of("item"):
                pass
    async with turns.of("item"):
        pass


async def test_an_error_ends_the_turn_and_nothing_is_kept() -> None:
    turns = Turns(60)
    with pytest.raises(ZeroDivisionError):
        async with turns.of("item"):
            _ = 1 / 0
    assert not turns._locks
