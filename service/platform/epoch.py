"""Epochs: whether the database is still the one that this process has seen, or was restored from a backup (docs/adr/0024).

Each process keeps a mark that it saw committed, and asks for it on each new connection, before that is used for anything else.
Where it is missing, a new epoch begins. So it does on another server, database or timeline, unless a process that lives finds its
mark.
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

# How long a process without a mark leaves it to others to recognise a server that has changed: those that live are connected anew
# by then.
GRACE_SECONDS = 15.0
_PAUSE_SECONDS = 0.25
# A mark that is older than this is worth nothing: of relays that are gone marks are not kept for ever.
MARK_SECONDS = 86_400.0

Verdict: TypeAlias = Literal["go on", "recognise", "adopt", "begin", "leave it to others"]


class Unsettled(asyncpg.InterfaceError):
    """The database cannot be used yet: it is being restored, or it is left to others to recognise it."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What a process saw committed: a relay what its last beats wrote, the service the greatest position and its event's id."""

    relay_id: UUID | None = None
    values: tuple[UUID, ...] = ()
    position: int | None = None
    event_id: UUID | None = None


NO_MARK = Mark()


@dataclass(frozen=True, slots=True)
class Known:
    """An epoch."""

    id: UUID
    base: int


@dataclass(frozen=True, slots=True)
class Seen:
    """What a connection shows. `found`: whether the process's mark is there; None where it has none. `moved`: the server, the
    database or the timeline is another one than the epoch is known on; `unknown`: it is known on none yet."""

    epoch: Known
    found: bool | None = None
    moved: bool = False
    unknown: bool = False
    standby: bool = False


def judge(known: Known | None, seen: Seen) -> Verdict:
    """What to do about what a new connection shows to a process that knows of this epoch, or of none."""
    if seen.standby:
        # It takes no writes, so nothing can be done, and nothing wrong be written either.
        return "go on"
    if known is not None and known.id != seen.epoch.id:
        # A backup from before the epoch that the process knows has an older one.
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
    """What one process knows. `mark` gives its mark, `on_new` hears that another epoch holds than before."""

    mark: Callable[[], Mark] = lambda: NO_MARK
    on_new: Callable[[], None] = lambda: None
    known: Known | None = None
    _left_to_others_since: float | None = None
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def greet(self, connection: Connection) -> None:
        """Ask a new connection, before it is used. Raises Unsettled, and what asyncpg raises."""
        seen = await self._ask(connection)
        if self.known is not None and judge(self.known, seen) == "go on":
            return
        # One at a time, as what one begins or adopts the next has to know.
        async with self._turn:
            while not await self._settled(connection):
                pass

    async def settle(self, connection: Connection) -> None:
        """The same as a process starts, which waits until that is settled."""
        said = False
        while True:
            try:
                await self.greet(connection)
                return
            except Unsettled as error:
                if not said:
                    _log.warning("the start waits for the database", reason=str(error))
                    said = True
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _settled(self, connection: Connection) -> bool:
        """False: ask once more."""
        seen = await self._ask(connection)
        verdict = judge(self.known, seen)
        if verdict != "leave it to others":
            self._left_to_others_since = None
        match verdict:
            case "go on":
                self.known = self.known or seen.epoch
                return True
            case "recognise":
                # Where nothing can be written for now, the next connection does it.
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
        """Unless another process was first. Of two that begin at the same moment one waits for the other's row, and adopts."""
        # Above the epoch that is known as well, which may be one from while a clock was ahead.
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
