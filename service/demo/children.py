"""The processes that the demo starts, each with a log of its own."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias, TypeVar

from service.platform import leash
from service.platform.errors import JossieError

_LEASH = Path(leash.__file__)
_LOG_LINES = 8
_STOP_SECONDS = 30.0
_BLAME_SECONDS = 1.0
T = TypeVar("T")


class ChildDied(JossieError):
    """A process of the demo failed. `lines` is the end of its log."""

    def __init__(self, child: "Child") -> None:
        self.lines = child.log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES:]
        super().__init__(
            f"{child.name} ended unexpectedly, with exit code {child.process.returncode}; the end of {child.log}:"
        )


@dataclass(slots=True, eq=False)
class Child:
    """A process, with all that is needed to start it once more. `process` is the present one."""

    name: str
    log: Path
    arguments: Sequence[str]
    environment: Mapping[str, str]
    read_output: bool
    sockets: Sequence[socket.socket]
    process: asyncio.subprocess.Process = field(init=False)

    async def run(self) -> None:
        """Starts the process. The log continues."""
        with self.log.open("ab") as file:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable,
                _LEASH,
                str(os.getpid()),
                sys.executable,
                *self.arguments,
                env=self.environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE if self.read_output else file,
                stderr=file,
                pass_fds=[each.fileno() for each in self.sockets],
                # Ctrl-C in the terminal is for the demo alone. It ends its processes in order.
                start_new_session=True,
            )


@dataclass(frozen=True, slots=True)
class Ended:
    """The id and the exit code of a process that somebody ended. The code is negative for a
    signal."""

    pid: int
    code: int

    def __str__(self) -> str:
        if self.code == -signal.SIGKILL:
            return "was killed"
        return "was stopped" if self.code == 0 else f"was ended by {signal.Signals(-self.code).name}"


# Called after somebody has ended a process of the child. By then the child runs as another process.
OnEnded: TypeAlias = Callable[[Child, Ended], None]


class Children:
    """Starts, watches and ends the processes. At the end of the context, it ends those that still
    run, the last started first."""

    def __init__(self, log_dir: Path) -> None:
        self._log_dir = log_dir
        self._running: dict[Child, asyncio.Task[None]] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for child in reversed(list(self._running)):
            await self.end(child)

    async def start(
        self,
        name: str,
        *arguments: str,
        environment: Mapping[str, str],
        read_output: bool = False,
        sockets: Sequence[socket.socket] = (),
        on_ended: OnEnded | None = None,
    ) -> Child:
        """Start a Python program with these arguments. It inherits these sockets.

        Its stderr goes to the log, and so does its stdout, unless `read_output` is set. With
        `on_ended`, the program is started again after a signal has ended it. Without, its end is a
        failure.
        """
        log = self._log_dir / f"{name}.log"
        log.write_bytes(b"")
        child = Child(name, log, arguments, environment, read_output, sockets)
        await child.run()
        self._running[child] = asyncio.ensure_future(_watch(child, on_ended))
        return child

    async def unless_one_dies(self, work: Awaitable[T]) -> T:
        """The result of `work`. Raises ChildDied as soon as a process fails."""
        task = asyncio.ensure_future(work)
        try:
            await asyncio.wait([task, *self._running.values()], return_when=asyncio.FIRST_COMPLETED)
            if task.done() and not task.cancelled() and task.exception() is not None:
                # Perhaps a process has just died. Then its log says more than this exception.
                await asyncio.wait(self._running.values(), timeout=_BLAME_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            for child, ended in self._running.items():
                if ended.done():
                    raise ChildDied(child)
            return await task
        finally:
            task.cancel()

    async def end(self, *children: Child) -> None:
        """Send SIGTERM to all of these, and SIGKILL to those that have not ended after 30 s."""
        for child in children:
            # Stop watching first. Otherwise the process would be started again.
            self._running.pop(child).cancel()
            if child.process.returncode is None:
                child.process.send_signal(signal.SIGTERM)
        for child in children:
            try:
                await asyncio.wait_for(child.process.wait(), _STOP_SECONDS)
            except TimeoutError:
                child.process.kill()
                await child.process.wait()


async def _watch(child: Child, on_ended: OnEnded | None) -> None:
    """Returns when the child has failed. An end by a signal, or an orderly end after one, is no
    failure: somebody asked for it."""
    while (code := await child.process.wait()) <= 0 and on_ended is not None:
        ended = Ended(child.process.pid, code)
        await child.run()
        on_ended(child, ended)
