"""The relay's mark: a random value that each beat writes, by which this relay recognises the
database's past (docs/adr/0024)."""

import time
from typing import NamedTuple
from uuid import UUID, uuid4

from relay.board import Board
from relay.identity import Identity
from service.platform.epoch import MARK_SECONDS, NO_MARK, Mark


class NewMark(NamedTuple):
    """A mark that is about to be written. `forgotten` is how often the relay had forgotten its past
    when it made this mark."""

    value: UUID
    forgotten: int


class Marks:
    """Called by this relay's Epoch: `mark` returns the relay's mark. `forget` drops it after
    another epoch has begun."""

    def __init__(self, board: Board, identity: Identity) -> None:
        self._board = board
        self._identity = identity
        # The mark that the last confirmed beat wrote, and when. `_next` is the mark of the next
        # beat; it stays the same until a beat with it is confirmed.
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
        """A mark for a row that is not yet there."""
        return NewMark(uuid4(), self._forgotten)

    def next(self) -> NewMark:
        """The mark for a beat. It stays the same until it is confirmed."""
        return NewMark(self._next, self._forgotten)

    def written(self, mark: NewMark) -> None:
        """The write of this mark is confirmed."""
        if mark.forgotten != self._forgotten:
            # This mark is from before the epoch that has been adopted since.
            return
        self.last, self._next = mark.value, uuid4()
        # This clock goes on while the machine is suspended.
        self._marked_at = time.clock_gettime(time.CLOCK_BOOTTIME)
