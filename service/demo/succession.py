"""Reports which relay takes over the work of a relay that somebody ended. The database has the
answer."""

import asyncio
import socket
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self
from uuid import UUID

import asyncpg

from service.demo.children import Child, Ended
from service.platform.db import AWAY, Pool
from service.platform.queries import load

_SQL = load("demo")
_POLL_SECONDS = 0.05
# The other relay notices within 5 s that a relay was killed. The rest is for a busy machine.
_PATIENCE_SECONDS = 30.0


class Succession:
    """Follows each relay that was ended, and says which relay took over. `relays` are those of the
    demo, whose names it uses.

    At the end of the context, it stops following relays."""

    def __init__(self, pool: Pool, say: Callable[[str], None]) -> None:
        self._pool = pool
        self._say = say
        self._following: set[asyncio.Task[None]] = set()
        self.relays: Sequence[Child] = ()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._following:
            task.cancel()
        await asyncio.gather(*self._following, return_exceptions=True)

    def relay_ended(self, child: Child, ended: Ended) -> None:
        """To be called as soon as the process has ended."""
        task = asyncio.ensure_future(self._follow(child.name, ended, time.monotonic()))
        self._following.add(task)
        task.add_done_callback(self._following.discard)

    async def _follow(self, name: str, ended: Ended, ended_at: float) -> None:
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                said = await self._successor(ended.pid, ended_at)
        except (*AWAY, asyncpg.PostgresError) as error:
            said = f"the database does not say who took over: {error or type(error).__name__}"
        self._say(f"{name} {ended}; {said}; {name} is started again")

    async def _successor(self, pid: int, ended_at: float) -> str:
        left = await _SQL.relay_of_process.fetchrow(self._pool, pid=pid, host=socket.gethostname())
        if left is None:
            # The relay gave its leases back before it ended.
            return "it left no lease behind"
        while not await _SQL.is_succeeded.fetchval(self._pool, id=left["id"]):  # noqa: ASYNC110 - others bring it about
            await asyncio.sleep(_POLL_SECONDS)
        seconds = time.monotonic() - ended_at
        heirs = await _SQL.successors.fetch(self._pool, id=left["id"])
        pids = {each.process.pid: each.name for each in self.relays}
        # A relay that was ended meanwhile no longer has a name.
        names = {row["id"]: pids.get(row["pid"], "another relay") for row in heirs}
        return describe(left["leader"], names, {row["id"]: row["leases"] for row in heirs}, _leader(heirs), seconds)


def describe(led: bool, names: dict[UUID, str], leases: dict[UUID, int], leader: UUID | None, seconds: float) -> str:
    """A sentence such as "relay-1 took over 3 leases, after 2.9 s". `leases` has the number of lost
    leases whose deliveries each relay has sent since."""
    parts = [
        f"{names[relay]} took over {count} lease{'s' if count > 1 else ''}" for relay, count in leases.items() if count
    ]
    if not parts and not led:
        return "it held no lease and did not lead, so there was nothing to take over"
    if not parts:
        parts = ["it held no lease"]
    if led and leader is not None:
        parts.append(f"{names[leader]} leads now")
    return f"{' and '.join(parts)}, after {seconds:.1f} s"


def _leader(rows: Sequence["asyncpg.Record"]) -> UUID | None:
    return next((row["id"] for row in rows if row["leader"]), None)
