"""Single parts of a relay, in the test's process."""

from dataclasses import dataclass

from relay.board import Board
from relay.identity import Identity
from relay.lead.retention import Retention
from relay.watch.database import Queues
from relay.watch.marks import Marks
from relay.watch.outage import Outage
from relay.watch.presence import Presence
from service.platform.db import Pool
from service.platform.epoch import Epoch
from service.platform.settings import Settings


@dataclass
class Clock:
    """A server's clock that is steady if the test says so."""

    steady: bool = False


@dataclass
class Idle:
    """The load of a relay that does nothing."""

    in_flight: int = 0
    delivered: int = 0
    attempted: int = 0


def leader_identity() -> Identity:
    identity = Identity()
    identity.leads.set()
    return identity


def housekeeping(
    pool: Pool,
    settings: Settings,
    *,
    board: Board | None = None,
    identity: Identity | None = None,
    steady: bool = False,
) -> Retention:
    board = board or Board()
    return Retention(pool, board, Outage(board), identity or Identity(), settings, Clock(steady))


def present(pool: Queues, board: Board, identity: Identity) -> Presence:
    marks = Marks(board, identity)
    epoch = Epoch(marks.mark, marks.forget)
    return Presence(pool, board, Outage(board), identity, marks=marks, epoch=epoch, load=Idle())
