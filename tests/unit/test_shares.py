"""Shares of slots, which no owner and no number of owners can take from the others."""

from collections import Counter
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.rules.shares import Part, Party, Places, SlotPool, level


def owners(count: int) -> list[Party]:
    return [Party(UUID(int=number)) for number in range(count)]


def take(pool: SlotPool, party: Party, *, quick: bool) -> bool:
    """One request is admitted: in the main part or, if that is full, in the reserve."""
    if pool.room(party, quick=quick) <= 0:
        return False
    pool.hold(party, reserve=pool.main_free <= 0)
    return True


def fill(pool: SlotPool, party: Party, *, quick: bool) -> None:
    while take(pool, party, quick=quick):
        pass


@pytest.mark.parametrize("quick", [False, True])
def test_one_owner_alone_has_the_main_part_and_leaves_the_reserve(quick: bool) -> None:
    pool, (one,) = SlotPool.of_relay(352), owners(1)
    fill(pool, one, quick=quick)
    assert (one.in_flight, one.in_main, pool.main_free, pool.reserve_free) == (264, 264, 0, 88)


@pytest.mark.parametrize("quick", [False, True])
def test_there_is_a_slot_for_a_newcomer_beside_fifty_who_hold_all_that_they_may(quick: bool) -> None:
    pool, (first, *others) = SlotPool.of_relay(352), owners(50)
    for party in (first, *others, first, *others):
        fill(pool, party, quick=quick)
    assert {other.first for other in (first, *others)} == {1}
    newcomer = Party(UUID(int=99))
    fill(pool, newcomer, quick=False)
    assert (newcomer.first, newcomer.in_flight, pool.first_free) == (1, 1, 59 - 51)


def test_a_quick_webhook_has_several_of_the_reserve_beside_any_that_never_were() -> None:
    pool, (first, *others) = SlotPool.of_relay(352), owners(50)
    for party in (first, *others):
        fill(pool, party, quick=False)
    honest = Party(UUID(int=99))
    fill(pool, honest, quick=True)
    assert honest.in_flight == 1 + 10


STEPS = st.lists(st.tuples(st.integers(0, 30), st.booleans(), st.booleans()), max_size=600)


@given(slots=st.integers(1, 120), steps=STEPS)
def test_whatever_comes_in_whatever_order_nobody_passes_a_bound(
    slots: int, steps: list[tuple[int, bool, bool]]
) -> None:
    """Requests of up to 31 owners. Any of them may end."""
    pool, parties = SlotPool.of_relay(slots), owners(31)
    main, first, further = pool.main, pool.first_free, pool.further_free
    assert main + first + further == slots
    assert main == slots - slots // 4, "three quarters"
    held: list[tuple[Party, Part]] = []
    for number, quick, ends in steps:
        party = parties[number]
        if ends and (mine := [each for each in held if each[0] is party]):
            held.remove(mine[0])
            pool.release(*mine[0])
        elif (most := pool.room(party, quick=quick)) > 0:
            alone, free = pool.alone(party), pool.further_free
            part = pool.hold(party, reserve=pool.main_free <= 0)
            held.append((party, part))
            if part != "main":
                assert pool.main_free == 0
                assert not alone
                assert pool.admits(party, quick=quick) == (most > 1), "so many as were said to be free"
            if part == "further":
                assert quick, "only for those known to be quick"
                assert free >= party.further * max(1, further // 10)
        parts = Counter(part for _, part in held)
        assert parts["main"] == main - pool.main_free <= main
        assert parts["first"] == first - pool.first_free <= first
        assert parts["further"] == further - pool.further_free <= further
        assert all(each.first <= 1 for each in parties)
        assert pool.alone(party) == all(other.in_flight == 0 for other in parties if other is not party)
        # In any state, an owner who has nothing gets a slot while the other owners hold fewer first
        # slots than there are.
        if sum(other.first for other in parties) < first:
            assert pool.room(Party(UUID(int=99)), quick=False) > 0


@given(
    slots=st.integers(0, 300),
    wants=st.lists(st.tuples(st.integers(0, 100), st.integers(0, 100)), min_size=1, max_size=20),
)
def test_slots_go_to_those_who_have_fewest_and_none_is_left_while_somebody_wants_it(
    slots: int, wants: list[tuple[int, int]]
) -> None:
    parties = owners(len(wants))
    for party, (has, _) in zip(parties, wants, strict=True):
        party.in_flight = has
    most = {party: want for party, (_, want) in zip(parties, wants, strict=True)}
    shares = dict(level(slots, most.items()))
    assert all(0 < share <= most[party] for party, share in shares.items())
    assert sum(shares.values()) == min(slots, sum(most.values()))
    reached = {party: party.in_flight + shares.get(party, 0) for party in parties}
    for party, share in shares.items():
        for other in parties:
            if shares.get(other, 0) < most[other]:
                assert reached[party] <= reached[other] + 1, "nobody gets more while one with fewer wants some"
        assert share


def test_webhooks_share_what_their_owner_and_their_origin_have_and_not_whether_they_are_quick() -> None:
    places = Places(64)
    one, other = UUID(int=1), UUID(int=2)
    a = places.of(one, "https://example.org/a")
    b = places.of(one, "HTTPS://EXAMPLE.org:443/b?c")
    elsewhere = places.of(one, "https://example.org:8443/a")
    theirs = places.of(other, "https://example.org/a")
    broken = places.of(one, "no URL")
    assert a.owner is b.owner is elsewhere.owner is broken.owner
    assert a.owner is not theirs.owner
    assert a.origin is b.origin is theirs.origin
    assert a.there is b.there
    assert len({id(place.there) for place in (a, theirs, elsewhere, broken)}) == 4
    assert len({id(place.origin) for place in (a, elsewhere, broken)}) == 3
    assert (a.origin.main_free, a.origin.reserve_free) == (192, 96)
    a.quick = True
    assert not b.quick


def test_what_nobody_uses_any_more_is_forgotten() -> None:
    places = Places(64)
    place = places.of(UUID(int=1), "https://example.org/a")
    del place
    assert (len(places._owners), len(places._origins), len(places._there)) == (0, 0, 0)
