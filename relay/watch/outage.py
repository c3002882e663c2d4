"""An outage of the database, as one relay sees it. It is logged once when it begins, by whichever
part notices it, and once when it ends. In between, each part tries again with backoff."""

import asyncio
import time

from relay.board import Board
from service.platform.db import CONTENDED, lacks_partition
from service.platform.outage import BACKOFF_SECONDS, Absence

PRESENCE, RECORDER = "presence", "recorder"
_LOOK_SECONDS = 0.05


class Outage:
    """Shared by the parts of one relay. An outage is over when two things hold. Every part that
    failed has done its work again, and presence, which writes each second, has written since the
    last failure. Only then is the server known to be there and to take writes."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._failures: dict[str, int] = {}
        self._absence = Absence()
        self._failed_at = 0.0
        # When the last beat that succeeded was begun.
        self._alive_at = 0.0

    async def wait(self, part: str, error: BaseException, **known: object) -> None:
        """A part could not do its work. Returns when it may try again. `known` becomes fields of
        the log line, if this part is the first to notice."""
        if isinstance(error, CONTENDED):
            # Two transactions were in each other's way. The database is not away.
            await asyncio.sleep(BACKOFF_SECONDS[0])
            return
        if lacks_partition(error):
            self._board.keep_house()
        self._failed_at = time.monotonic()
        failures = self._failures.get(part, 0)
        self._failures[part] = failures + 1
        self._absence.begins(error, part=part, **known)
        await asyncio.sleep(BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS) - 1)])

    def over(self, part: str) -> None:
        """A part has done its work."""
        if self._absence.in_outage:
            if self._failures.pop(part, None) is not None:
                # A statement of this part may have committed although its reply was lost. Only a
                # sweep finds the deliveries that it made due.
                self._board.sweep()
            self._end()

    def alive(self, began: float) -> None:
        """The database took a write. `began` is when that write began, in monotonic seconds."""
        self._alive_at = began
        if self._absence.in_outage:
            self._end()

    async def until_writable(self, moment: float) -> None:
        """Waits until the database has taken a write that began after `moment`, in monotonic
        seconds, and has recorded the results that it had refused. Presence alone proves too little:
        on a full disk, an updated row may find room where a new one does not. Returns, too, when
        the relay ends."""
        while not self._board.stopping and (self._alive_at <= moment or RECORDER in self._failures):  # noqa: ASYNC110 - either ends it
            await asyncio.sleep(_LOOK_SECONDS)

    @property
    def unwritable(self) -> bool:
        """Whether the last write of presence or of the recorder failed."""
        return PRESENCE in self._failures or RECORDER in self._failures

    def _end(self) -> None:
        if not self._failures and self._alive_at > self._failed_at:
            self._absence.ends()
