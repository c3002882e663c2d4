"""The board: the place where the parts of one relay leave messages instead of calling each
other."""

import asyncio
from collections.abc import Iterable, Sequence
from uuid import UUID

from relay.rules.agenda import Agenda


class Board:
    """A part writes here what it has learnt. That sets the asyncio.Event of the part that acts on
    it. Nothing here waits or does I/O.

    A reader clears its event before it looks, never after. So if something is written during the
    look, the event is set again, and the reader's next look finds it.
    """

    def __init__(self) -> None:
        # One event for each reader: the dispatcher, the messages to peers, housekeeping, replays.
        self.claiming = asyncio.Event()
        self.peers = asyncio.Event()
        self.housekeeping = asyncio.Event()
        self.replays = asyncio.Event()
        self.agenda = Agenda()
        # How many sweeps were asked for. If this number changes during a sweep, that sweep begins
        # again.
        self.sweeps = 1
        # Whether tests of webhooks may be waiting.
        self.tests = True
        # How often the server's clock has jumped.
        self.jumps = 0
        # Whether the relay is ending. Then it claims nothing more.
        self.stopping = False
        self._hints: dict[UUID, None] = {}
        self._hint_all = False

    def due(self, webhook_ids: Iterable[UUID]) -> None:
        """Something may be due in these lanes."""
        self.agenda.add(webhook_ids)
        self.claiming.set()

    def due_in(self, webhook_id: UUID, seconds: float) -> None:
        """A delivery of this lane is due in so many seconds."""
        if self.agenda.due_in(webhook_id, seconds):
            self.claiming.set()

    def found_due(self, webhook_ids: Iterable[UUID]) -> None:
        """A query, not a hint, found something due in these lanes."""
        self.agenda.add_timed(webhook_ids)
        self.claiming.set()

    def look_at(self, webhook_id: UUID, when: float) -> None:
        """Nothing can be claimed of this lane before `when`, in monotonic seconds."""
        if self.agenda.look_at(webhook_id, when):
            self.claiming.set()

    def room(self) -> None:
        """A claim that waited for room may go on."""
        self.claiming.set()

    def sweep(self) -> None:
        """Look at every lane: hints may have been lost, or leases have become void."""
        self.sweeps += 1
        self.tests = True
        self.claiming.set()

    def test(self) -> None:
        """A test of a webhook was asked for, or there is room for one that waits."""
        self.tests = True
        self.claiming.set()

    def keep_house(self) -> None:
        """A row found no partition: housekeeping makes it at once."""
        self.housekeeping.set()

    def clock_jumped(self) -> None:
        """The server's clock has jumped: check the times that were scheduled before."""
        self.jumps += 1
        self.housekeeping.set()

    def requested(self, webhook_ids: Iterable[UUID]) -> None:
        """The API asked for something about these webhooks: a retry, a test, a replay, a
        discard."""
        self.due(webhook_ids)
        self.test()
        self.housekeeping.set()
        self.replays.set()

    def missed(self) -> None:
        """Any message may have been lost: the dispatcher, housekeeping and replays look at
        everything."""
        self.sweep()
        self.housekeeping.set()
        self.replays.set()

    def hint_peers(self, webhook_ids: Sequence[UUID]) -> None:
        """Tell the other relays that something may be due in these lanes."""
        if webhook_ids:
            self._hints.update(dict.fromkeys(webhook_ids))
            self.peers.set()

    def sweep_everywhere(self) -> None:
        """All relays sweep, this one too. In lanes that nobody has named, leases have become void
        or deliveries have become due."""
        self.sweep()
        self.sweep_peers()

    def sweep_peers(self) -> None:
        """The other relays sweep."""
        self._hint_all = True
        self.peers.set()

    def take_hints(self) -> list[UUID] | None:
        """Takes the lanes that were hinted since the last call, for the message to the other
        relays. None stands for every lane."""
        hints, self._hints = self._hints, {}
        everything, self._hint_all = self._hint_all, False
        return None if everything else list(hints)
