"""Relays as processes of a test."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg

from relay.lead.doorbell import LOCK_CLASS, LOCK_LEADER
from tests.support.database import THIS_DATABASE, Queries
from tests.support.waiting import PATIENCE, until

RELAY = (sys.executable, "-m", "relay")


class RelayProcess:
    """`python -m relay` with the settings of the environment, or another `command`."""

    def __init__(self, log: Path, environment: Mapping[str, str], command: Sequence[str] = RELAY) -> None:
        self._log = log
        self._environment = environment
        self._command = command
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command, stdout=log, stderr=log, env={**os.environ, **self._environment}
            )

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        assert self._process is not None
        return self._process.returncode

    def send(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

    async def ended(self) -> int:
        assert self._process is not None
        return await asyncio.wait_for(self._process.wait(), PATIENCE)

    def log(self) -> list[dict[str, Any]]:
        """The lines of its log. A line that is not JSON is a traceback or a warning, which is a
        defect."""
        return [json.loads(line) for line in self._log.read_text(encoding="utf-8").splitlines()]


@dataclass
class Relays:
    """The relays of one test. All are ended with it."""

    directory: Path
    connection: Queries
    started: list[RelayProcess] = field(default_factory=list)

    async def start(self, count: int = 1, *, command: Sequence[str] = RELAY, **environment: str) -> list[RelayProcess]:
        """Start relays, and wait until each is present and one of all leads. If there are several,
        the row of the leader must say so."""
        new = []
        for _ in range(count):
            relay = RelayProcess(self.directory / f"relay{len(self.started)}.log", environment, command)
            await relay.start()
            self.started.append(relay)
            new.append(relay)
        for relay in new:
            await until(lambda relay=relay: self.row(relay), f"relay {relay.pid} is present")  # type: ignore[misc]
        # A leader's row says so only at its next beat, a second later. A single relay need not wait
        # for that.
        await until(self._led if len(self.started) == 1 else self.leader, "a relay leads")
        return new

    async def start_changed(self, change: str, **environment: str) -> RelayProcess:
        """Start a relay in whose process this code has run first."""
        script = self.directory / f"relay{len(self.started)}.py"
        script.write_text(f"{change}\nfrom relay.__main__ import main\nmain()\n")
        command = (sys.executable, str(script))
        (relay,) = await self.start(1, command=command, PYTHONPATH=str(Path.cwd()), **environment)
        return relay

    async def row(self, relay: RelayProcess) -> asyncpg.Record | None:
        assert relay.exit_code is None, f"the relay ended: {relay.log()}"
        return await self.connection.fetchrow("select * from relays where pid = $1", relay.pid)

    async def _led(self) -> bool:
        found: bool = await self.connection.fetchval(
            "select exists (select from pg_locks where locktype = 'advisory' and classid = $1 and objid = $2 and granted"
            f" and {THIS_DATABASE})",
            LOCK_CLASS,
            LOCK_LEADER,
        )
        return found

    async def leader(self) -> RelayProcess | None:
        """The relay whose row says that it leads."""
        pid = await self.connection.fetchval(
            "select pid from relays where leader and seen_at > clock_timestamp() - interval '3 seconds'"
        )
        return next((relay for relay in self.started if relay.pid == pid and relay.exit_code is None), None)

    async def follower(self) -> RelayProcess:
        leader = await self.leader()
        return next(relay for relay in self.started if relay is not leader and relay.exit_code is None)

    async def poll_wakes(self) -> int:
        found: int = await self.connection.fetchval("select coalesce(sum(poll_wakes), 0)::int from relays")
        return found

    async def idle(self) -> None:
        """Wait until both queues are empty."""

        async def empty() -> bool:
            found: bool = await self.connection.fetchval(
                "select not exists (select from outbox) and not exists (select from deliveries)"
            )
            return found

        await until(empty, "outbox and deliveries are empty")

    async def stop(self) -> None:
        for relay in self.started:
            relay.send(signal.SIGCONT)
            relay.send(signal.SIGTERM)
        for relay in self.started:
            try:
                await relay.ended()
            except TimeoutError:
                relay.send(signal.SIGKILL)
                await relay.ended()
