"""The agenda after a claim: no lane that may have more is forgotten, and no empty lane is claimed
again."""

from datetime import UTC, datetime
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from relay.rules.remainder import remainder

A, B, C, D = (UUID(int=number) for number in range(1, 5))
FLOOR = datetime(2026, 2, 18, 9, 30, tzinfo=UTC)


def test_a_lane_that_gave_less_than_it_was_asked_for_has_nothing_more() -> None:
    left = remainder([(A, 4), (B, 4)], [None, None], {A: 3, B: 4}, {}, full=False)
    assert (left.empty, left.more, left.nothing) == ([A], [B], [])
    assert left.looked_through == [A]


def test_a_claim_that_filled_all_slots_says_of_no_lane_that_it_is_empty() -> None:
    left = remainder([(A, 4), (B, 4), (C, 4)], [None] * 3, {A: 4, B: 1}, {}, full=True)
    assert (left.nothing, left.more, left.empty) == ([C], [A, B], [])
    assert left.looked_through == []


def test_a_lane_that_was_looked_at_from_a_floor_on_is_looked_at_from_its_beginning_at_once() -> None:
    left = remainder([(A, 4), (B, 4)], [FLOOR, FLOOR], {B: 1}, {}, full=False)
    assert (left.nothing, left.more, left.empty) == ([A], [B], [A, B])
    assert left.look_now
    assert left.looked_through == [A, B]


def test_a_lane_that_has_to_wait_is_left_until_then_whatever_it_gave() -> None:
    left = remainder([(A, 4), (B, 4), (C, 4)], [None, FLOOR, None], {A: 4}, {A: 1.0, B: 2.0}, full=False)
    assert (left.nothing, left.more, left.empty) == ([], [], [C])
    assert left.looked_through == [A, B, C]
    assert not left.look_now


@given(
    st.dictionaries(
        st.sampled_from([A, B, C, D]),
        st.tuples(st.integers(1, 5), st.sampled_from([None, FLOOR]), st.integers(0, 5), st.booleans()),
        min_size=1,
    ),
    st.booleans(),
)
def test_every_lane_is_kept_or_known_to_have_nothing_due(
    lanes: dict[UUID, tuple[int, datetime | None, int, bool]], full: bool
) -> None:
    asked = [(lane, share) for lane, (share, _, _, _) in lanes.items()]
    floors = [floor for _, floor, _, _ in lanes.values()]
    got = {lane: min(share, taken) for lane, (share, _, taken, _) in lanes.items() if taken}
    waits = {lane for lane, (_, _, _, must_wait) in lanes.items() if must_wait}
    left = remainder(asked, floors, got, waits, full=full)
    kept = [*left.nothing, *left.more]
    assert len(kept) == len(set(kept))
    assert set(left.more) <= set(got)
    assert not set(left.nothing) & set(got)
    for lane, (share, floor, _, must_wait) in lanes.items():
        if must_wait:
            assert lane not in kept
            assert lane not in left.empty
        elif full or got.get(lane, 0) >= share or floor is not None:
            assert lane in kept
        else:
            assert lane in left.empty
            assert lane not in kept
    assert left.look_now == any(floor is not None and lane in left.empty for lane, (_, floor, _, _) in lanes.items())
