"""Locks by object: who wants the same object waits, in order, and no other does."""

import asyncio

import pytest

from service.platform.errors import Unavailable
from service.platform.object_locks import ObjectLocks


async def test_those_who_want_one_object_get_it_in_their_order() -> None:
    locks, order = ObjectLocks(60), []

    async def take(number: int) -> None:
        async with locks.of("item"):
            order.append(number)
            await asyncio.sleep(0)
            order.append(number)

    await asyncio.gather(*(take(number) for number in range(5)))
    assert order == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


async def test_another_object_does_not_wait() -> None:
    locks = ObjectLocks(60)
    async with locks.of("one"), locks.of("another"):
        pass


async def test_a_lock_that_does_not_come_free_in_time_is_refused() -> None:
    locks = ObjectLocks(0.01)
    async with locks.of("item"):
        with pytest.raises(Unavailable):
            async with locks.of("item"):
                pass
    async with locks.of("item"):
        pass


async def test_an_error_frees_the_lock_and_nothing_is_kept() -> None:
    locks = ObjectLocks(60)
    with pytest.raises(ZeroDivisionError):
        async with locks.of("item"):
            _ = 1 / 0
    assert not locks._locks
