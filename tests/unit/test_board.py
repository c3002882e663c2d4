"""Each entry on the board wakes the part that acts on it, and is taken once."""

from uuid import UUID

from relay.board import Board

A, B = (UUID(int=number) for number in (1, 2))


async def test_what_is_due_wakes_the_dispatcher_alone() -> None:
    board = Board()
    board.due([A])
    assert list(board.agenda.turns) == [A]
    assert board.claiming.is_set()
    others = (board.peers, board.housekeeping, board.replays)
    assert not any(event.is_set() for event in others)


async def test_a_later_time_than_the_next_is_no_reason_to_look() -> None:
    board = Board()
    board.due_in(A, 10)
    board.claiming.clear()
    board.due_in(B, 60)
    assert not board.claiming.is_set()
    board.due_in(B, 1)
    assert board.claiming.is_set()


async def test_hints_for_peers_are_taken_together_and_once() -> None:
    board = Board()
    board.hint_peers([A])
    board.hint_peers([B, A])
    assert board.peers.is_set()
    assert board.take_hints() == [A, B]
    assert board.take_hints() == []


async def test_a_sweep_of_the_peers_stands_for_every_hint() -> None:
    board = Board()
    sweeps = board.sweeps
    board.hint_peers([A])
    board.sweep_everywhere()
    assert board.sweeps == sweeps + 1
    assert board.take_hints() is None
    assert board.take_hints() == []


async def test_lost_messages_make_every_reader_look_at_everything() -> None:
    board = Board()
    sweeps = board.sweeps
    board.tests = False
    board.missed()
    assert (board.sweeps, board.tests) == (sweeps + 1, True)
    assert board.claiming.is_set()
    assert board.housekeeping.is_set()
    assert board.replays.is_set()
    assert not board.peers.is_set()
