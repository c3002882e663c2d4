"""The relay's mark: a random value that each beat writes, by which this relay recognises the
database's past (docs/adr/0024)."""

import time
from typing import NamedTuple
from uuid import UUID, uuid4

from relay.board import Board
from relay.identity import Identity
from service.platform.epoch import MARK_SECONDS, NO_MARK, Mark


class NewMark(NamedTuple):
    """A mark that is being written. `forgotten`: how often the relay had forgotten its past by
    then."""

    value: UUID
    forgotten: int


class Marks:
    """What an epoch asks this relay: `mark`, and `forget` when another epoch has begun."""

    def __init__(self, board: Board, identity: Identity) -> None:
        self._board = board
        self._identity = identity
        # What the last confirmed beat has written, and when; and what the next one writes, until it
        # is confirmed.
        self.last: UUID | None = None
        self._marked_at = 0.0
        self._next = uuid4()
        self._forgotten = 0

    def mark(self) -> Mark:
        if self.last is None or time.clock_gettime(time.CLOCK_BOOTTIME) - self._marked_at > MARK_SECONDS:
            return NO_MARK
        return Mark(relay_id=self._identity.relay_id, values=(self.last, self._next))

    def forget(self) -> None:
        """Another epoch has begun: this relay is no longer listed, and all leases are void."""
        self.last = None
        self._forgotten += 1
        self._board.sweep()

    def fresh(self) -> NewMark:
        """For a row that is not there yet."""
        return NewMark(uuid4(), self._forgotten)

    def next(self) -> NewMark:
        """For a beat. It stays the same until it is confirmed."""
        return NewMark(self._next, self._forgotten)

    def written(self, mark: NewMark) -> None:
        """The write of this mark is confirmed."""
        if mark.forgotten != self._forgotten:
            # It was written before the epoch began that has been adopted meanwhile.
            return
        self.last, self._next = mark.value, uuid4()
        # By a clock that goes on while the machine is suspended.
        self._marked_at = time.clock_gettime(time.CLOCK_BOOTTIME)
