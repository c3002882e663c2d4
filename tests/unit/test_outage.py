"""The conditions under which a relay may claim again after an outage."""

import asyncio
import time

from relay.board import Board
from relay.watch.outage import PRESENCE, RECORDER, Outage
from service.platform.db import AWAY

ERROR = AWAY[0]("no space left")


async def _waits(outage: Outage) -> "asyncio.Task[None]":
    waiting = asyncio.create_task(outage.until_writable(time.monotonic()))
    await asyncio.sleep(0)
    return waiting


async def test_a_beat_that_was_taken_ends_the_wait() -> None:
    outage = Outage(Board())
    await outage.wait(PRESENCE, ERROR)
    assert outage.unwritable
    waiting = await _waits(outage)
    outage.over(PRESENCE)
    outage.alive(time.monotonic())
    await waiting
    assert not outage.unwritable


async def test_results_that_cannot_be_recorded_are_waited_for_though_beats_are_taken() -> None:
    outage = Outage(Board())
    await outage.wait(RECORDER, ERROR)
    waiting = await _waits(outage)
    outage.alive(time.monotonic())
    done, _ = await asyncio.wait([waiting], timeout=0.2)
    assert not done
    assert outage.unwritable
    outage.over(RECORDER)
    await waiting
    assert not outage.unwritable
