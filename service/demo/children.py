"""The processes that the demo starts, each with a log of its own."""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from service.platform.errors import JossieError

_LEASH = Path(__file__).with_name("leash.py")
_LOG_LINES = 8
_STOP_SECONDS = 30.0
_BLAME_SECONDS = 1.0
T = TypeVar("T")


class ChildDied(JossieError):
    """A process of the demo ended by itself. `lines` is the end of its log."""

    def __init__(self, child: "Child") -> None:
        self.lines = child.log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES:]
        super().__init__(
            f"{child.name} ended unexpectedly, with exit code {child.process.returncode}; the end of {child.log}:"
        )


@dataclass(frozen=True, slots=True)
class Child:
    name: str
    process: asyncio.subprocess.Process
    log: Path


class Children:
    """Starts, watches and ends them. A context manager: what is left at its end is ended, the last started first."""

    def __init__(self, log_dir: Path) -> None:
        self._log_dir = log_dir
        self._running: dict[Child, asyncio.Task[int]] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for child in reversed(list(self._running)):
            await self.end(child)

    async def start(
        self, name: str, *arguments: str, environment: Mapping[str, str], read_output: bool = False
    ) -> Child:
        """A Python program with these arguments. Its stderr goes to the log; its stdout too, unless `read_output`."""
        log = self._log_dir / f"{name}.log"
        with log.open("wb") as file:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                _LEASH,
                str(os.getpid()),
                sys.executable,
                *arguments,
                env=environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE if read_output else file,
                stderr=file,
                # Ctrl-C in the terminal is for the demo, which ends its processes in their order.
                start_new_session=True,
            )
        child = Child(name, process, log)
        self._running[child] = asyncio.ensure_future(process.wait())
        return child

    async def unless_one_dies(self, work: Awaitable[T]) -> T:
        """The result of `work`. Raises ChildDied as soon as a process ends by itself."""
        task = asyncio.ensure_future(work)
        try:
            await asyncio.wait([task, *self._running.values()], return_when=asyncio.FIRST_COMPLETED)
            if task.done() and not task.cancelled() and task.exception() is not None:
                # Perhaps because a process has just died, which then says more.
                await asyncio.wait(self._running.values(), timeout=_BLAME_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            for child, ended in self._running.items():
                if ended.done():
                    raise ChildDied(child)
            return await task
        finally:
            task.cancel()

    async def end(self, *children: Child) -> None:
        """SIGTERM to all of these, and SIGKILL to what has not ended after 30 s."""
        for child in children:
            if child.process.returncode is None:
                child.process.send_signal(signal.SIGTERM)
        for child in children:
            ended = self._running.pop(child)
            try:
                await asyncio.wait_for(asyncio.shield(ended), _STOP_SECONDS)
            except TimeoutError:
                child.process.kill()
                await ended
