"""Epochs: finds out whether the database was restored from a backup (docs/adr/0024).

Each process keeps a mark: a value that it saw committed. It asks for the mark on each new
connection, before it uses the connection for anything else. If the mark is missing, a new epoch
begins. A new epoch also begins if the server, the database or the timeline has changed, unless a
running process finds its mark there.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal, TypeAlias
from uuid import UUID

import asyncpg

from service.platform.logs import get_logger
from service.platform.queries import Connection, load
from service.platform.server_clock import SERVER_CLOCK

_log = get_logger(__name__)
_SQL = load("epoch")

# If the server has changed, a process without a mark waits this long for another process to
# recognise it. All running processes have connected again by then.
GRACE_SECONDS = 15.0
_PAUSE_SECONDS = 0.25
# A process does not use a mark that is older than this, because the database does not keep the
# marks of removed relays for ever.
MARK_SECONDS = 86_400.0

Verdict: TypeAlias = Literal["go on", "recognise", "adopt", "begin", "leave it to others"]


class Unsettled(asyncpg.InterfaceError):
    """The database cannot be used yet. It is being restored, or this process waits for another
    process to recognise it."""


@dataclass(frozen=True, slots=True)
class Mark:
    """The mark of a process. A relay's mark has the values that its last beats wrote. The mark of
    the service has the greatest position, and the id of the event there."""

    relay_id: UUID | None = None
    values: tuple[UUID, ...] = ()
    position: int | None = None
    event_id: UUID | None = None


NO_MARK = Mark()


@dataclass(frozen=True, slots=True)
class Known:
    """An epoch: its id and its base, the number above which its positions and fences begin."""

    id: UUID
    base: int


@dataclass(frozen=True, slots=True)
class Seen:
    """The facts that a connection shows about the database.

    - `found`: the database has the process's mark. None if the process has no mark, or if that part
      of the log was dropped.
    - `moved`: the row of the epoch names another server, database or timeline than this one.
    - `unknown`: the row of the epoch names no server yet.
    - `standby`: the server is a standby, which takes no writes.
    """

    epoch: Known
    found: bool | None = None
    moved: bool = False
    unknown: bool = False
    standby: bool = False


def judge(known: Known | None, seen: Seen) -> Verdict:
    """Decides what follows from `seen`. `known` is the epoch that the process knows, or None.

    "recognise" means to record the server in the row of the epoch. docs/adr/0024 has the decisions
    as a table.
    """
    if seen.standby:
        # A standby takes no writes. So the process can do nothing here, and can write nothing
        # wrong.
        return "go on"
    if known is not None and known.id != seen.epoch.id:
        # If its base is not greater, this is a backup from before the epoch that the process knows.
        return "adopt" if seen.found or seen.epoch.base > known.base else "begin"
    if seen.found is False:
        return "begin"
    if seen.unknown:
        return "recognise"
    if seen.moved:
        return "recognise" if seen.found else "leave it to others"
    return "go on"


@dataclass
class Epoch:
    """The epoch that one process knows. `mark` returns the process's mark. `on_new` is called when
    another epoch has begun."""

    mark: Callable[[], Mark] = lambda: NO_MARK
    on_new: Callable[[], None] = lambda: None
    known: Known | None = None
    _left_to_others_since: float | None = None
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def greet(self, connection: Connection) -> None:
        """Check the epoch on a new connection, before it is used. Raises Unsettled, and errors of
        asyncpg."""
        seen = await self._ask(connection)
        if self.known is not None and judge(self.known, seen) == "go on":
            return
        # One connection at a time: if the first begins or adopts an epoch, the next must know that.
        async with self._turn:
            while not await self._settled(connection):
                pass

    async def settle(self, connection: Connection) -> None:
        """Like greet, but waits until the epoch is settled. For the start of a process. Raises
        errors of asyncpg."""
        logged = False
        while True:
            try:
                await self.greet(connection)
                return
            except Unsettled as error:
                if not logged:
                    _log.warning("the start waits for the database", reason=str(error))
                    logged = True
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _settled(self, connection: Connection) -> bool:
        """One step towards a settled epoch. Returns False if the connection must be asked once
        more."""
        seen = await self._ask(connection)
        verdict = judge(self.known, seen)
        if verdict != "leave it to others":
            self._left_to_others_since = None
        match verdict:
            case "go on":
                self.known = self.known or seen.epoch
                return True
            case "recognise":
                # If the database takes no writes now, a later connection records the server.
                with suppress(asyncpg.ReadOnlySQLTransactionError):
                    await _SQL.recognise.execute(connection, id=seen.epoch.id)
                self.known = seen.epoch
                return True
            case "adopt":
                _log.warning("another epoch of the database has begun", epoch=str(seen.epoch.id))
                self._adopt(seen.epoch)
            case "begin":
                await self._begin(connection, seen, "what a process had seen committed is not there", if_moved=False)
            case "leave it to others":
                now = time.monotonic()
                if self._left_to_others_since is None:
                    self._left_to_others_since = now
                    _log.info("the database's server is another one; waiting for a process that recognises it")
                if now - self._left_to_others_since < GRACE_SECONDS:
                    raise Unsettled("the server is another one; a process that knows this past may still recognise it")
                await self._begin(
                    connection, seen, "the server, the database or the timeline is another one", if_moved=True
                )
        return False

    async def _ask(self, connection: Connection) -> Seen:
        mark = self.mark()
        asked = time.monotonic()
        try:
            row = await _SQL.ask.fetchrow(
                connection,
                relay_id=mark.relay_id,
                marks=list(mark.values),
                position=mark.position,
                event_id=mark.event_id,
            )
        except asyncpg.UndefinedTableError as error:
            raise Unsettled(f"the database is not whole, it may be being restored: {error}") from None
        if row is None:
            raise Unsettled("it has no epoch, it may be being restored; if not, run: jossiedb restored")
        SERVER_CLOCK.observe(row["now"], asked, time.monotonic())
        found = row["mark_found"] if mark.values else row["event_found"] if mark.position is not None else None
        return Seen(Known(row["id"], row["base"]), found, row["moved"], row["unknown"], row["standby"])

    async def _begin(self, connection: Connection, seen: Seen, why: str, *, if_moved: bool) -> None:
        """Begins a new epoch, unless another process was first. Two processes may try at the same
        moment. Then the second waits for the lock on the row of `epoch`, and adopts the epoch of
        the first."""
        # The new base must also be above that of the known epoch, which may come from a clock that
        # was ahead.
        position = max(self.mark().position or 0, self.known.base if self.known is not None else 0)
        begun = await _SQL.begin.fetchval(
            connection, expected=seen.epoch.id, above=position, why=why, if_moved=if_moved
        )
        present = await _SQL.present.fetchrow(connection)
        assert present is not None, "its row was locked"
        if begun != seen.epoch.id:
            _log.warning("a new epoch of the database has begun", epoch=str(present["id"]), reason=present["reason"])
            self._adopt(Known(present["id"], present["base"]))

    def _adopt(self, epoch: Known) -> None:
        self.known = epoch
        self._left_to_others_since = None
        self.on_new()
