"""The CPU that a measured stretch uses."""

import asyncio
import json
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack

from bench import cpu
from bench.world import World, first_line, rest_of


class Meter:
    """The CPU that the measured processes, PostgreSQL and the receiver use between `start` and
    `stop`."""

    def __init__(self, world: World, pids: Sequence[int]) -> None:
        self._world = world
        self._pids = pids
        self._before = self._now()

    def _now(self) -> tuple[float, float, float, float]:
        return (
            cpu.seconds(self._pids),
            cpu.server_seconds(self._world.postmaster),
            cpu.seconds([self._world.receiver.pid]),
            time.monotonic(),
        )

    def start(self) -> None:
        self._before = self._now()

    def stop(self) -> cpu.Cpu:
        return cpu.Cpu(*(after - before for after, before in zip(self._now(), self._before, strict=True)))


async def under_load(
    world: World, pids: Sequence[int], seconds: float, *commands: Sequence[str]
) -> tuple[list[dict[str, float]], cpu.Cpu]:
    """Run scripts side by side. Returns their results, and the CPU of the seconds that all of them
    measured.

    Each script first prints the monotonic second at which its stretch begins, and at the end its
    result as JSON.
    """
    async with AsyncExitStack() as stack:
        scripts = [
            await stack.enter_async_context(world.script(f"script{number}", *command))
            for number, command in enumerate(commands)
        ]
        begins = [float(await first_line(script)) for script in scripts]
        await asyncio.sleep(max(begins) - time.monotonic())
        meter = Meter(world, pids)
        await asyncio.sleep(min(begins) + seconds - time.monotonic())
        used = meter.stop()
        return [json.loads(await rest_of(script)) for script in scripts], used
