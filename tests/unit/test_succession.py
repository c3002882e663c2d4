"""The demo's words for the relay that took over from another."""

from uuid import UUID

import pytest

from service.demo.succession import describe

ONE, TWO = UUID(int=1), UUID(int=2)
NAMES = {ONE: "relay-1", TWO: "relay-2"}


@pytest.mark.parametrize(
    ("led", "leases", "leader", "described"),
    [
        (False, {ONE: 3}, ONE, "relay-1 took over 3 leases, after 2.9 s"),
        (True, {ONE: 1}, ONE, "relay-1 took over 1 lease and relay-1 leads now, after 2.9 s"),
        (True, {ONE: 0}, ONE, "it held no lease and relay-1 leads now, after 2.9 s"),
        (True, {ONE: 2, TWO: 1}, TWO,
         "relay-1 took over 2 leases and relay-2 took over 1 lease and relay-2 leads now, after 2.9 s"),
        (False, {ONE: 0}, ONE, "it held no lease and did not lead, so there was nothing to take over"),
    ],
)  # fmt: skip
def test_it_names_the_heirs(led: bool, leases: dict[UUID, int], leader: UUID, described: str) -> None:
    assert describe(led, NAMES, leases, leader, 2.94) == described
