"""Commands of `jossiedb` as processes."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson

from tests.support.paths import ROOT

COMMAND = [sys.executable, "-m", "service"]
PASSWORD = "correct horse battery staple"
BOSS = ["users", "create", "--username", "boss", "--email", "boss@example.org", "--full-name", "The Boss"]
TIMEOUT = 60


async def run(*arguments: str, given: str = "") -> tuple[int | None, str, str]:
    """Exit code, standard output and standard error."""
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *arguments,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        output, errors = await asyncio.wait_for(process.communicate(given.encode()), TIMEOUT)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
    return process.returncode, output.decode(), errors.decode()


async def refusal(*arguments: str, given: str = "") -> str:
    """The one line that a command prints if it refuses to do its work."""
    code, output, errors = await run(*arguments, given=given)
    assert (code, output) == (2, "")
    assert errors.endswith("\n")
    (line,) = errors.splitlines()
    assert line.startswith("jossiedb: ")
    return line


def create_user(username: str, role: str, password: str, environment: Mapping[str, str] | None = None) -> None:
    """Runs `jossiedb users create`. Blocks until it is done."""
    user = ["--username", username, "--email", f"{username}@example.org", "--full-name", f"The {role}", "--role", role]
    subprocess.run(
        [*COMMAND, "users", "create", *user],
        input=f"{password}\n".encode(),
        env=environment,
        cwd=ROOT,
        capture_output=True,
        check=True,
    )


def served_address(log: Path) -> str:
    """The address at which `jossiedb serve` answers, read from its log. Empty if it is not ready
    yet."""
    for line in log.read_text(encoding="utf-8").splitlines():
        if line.startswith("{") and (entry := orjson.loads(line))["event"] == "ready":
            return str(entry["address"])
    return ""


class Server:
    """A ready `jossiedb serve`: its address, its process, and the lines of its log that have been
    read. After its end, these are all lines."""

    def __init__(self, process: asyncio.subprocess.Process, address: str, lines: list[str]) -> None:
        self.process, self.address, self._lines = process, address, lines

    async def says(self, event: str) -> dict[str, Any]:
        """Waits for the next line of this event."""
        assert self.process.stderr is not None
        async with asyncio.timeout(TIMEOUT):
            while line := await self.process.stderr.readline():
                self._lines.append(line.decode())
                record: dict[str, Any] = orjson.loads(line)
                if record["event"] == event:
                    return record
        raise AssertionError(f"it ended without {event!r}: {self._lines}")

    async def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        assert self.process.stderr is not None
        self.process.send_signal(number)
        self._lines += (await asyncio.wait_for(self.process.stderr.read(), TIMEOUT)).decode().splitlines()
        return await self.process.wait()

    @property
    def log(self) -> list[dict[str, Any]]:
        return [orjson.loads(line) for line in self._lines]


@asynccontextmanager
async def serving(*arguments: str) -> AsyncIterator[Server]:
    process = await asyncio.create_subprocess_exec(
        *COMMAND, "serve", "--port", "0", *arguments, cwd=ROOT, stderr=subprocess.PIPE
    )
    try:
        lines: list[str] = []
        assert process.stderr is not None
        while True:
            line = (await asyncio.wait_for(process.stderr.readline(), TIMEOUT)).decode()
            assert line, lines
            lines.append(line)
            record = orjson.loads(line)
            if record["event"] == "ready":
                break
        yield Server(process, record["address"], lines)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@asynccontextmanager
async def started(*arguments: str, pass_fds: Collection[int] = ()) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *COMMAND, *arguments, cwd=ROOT, stderr=subprocess.PIPE, pass_fds=pass_fds
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
