"""Pure parts of the relay: addresses, lanes, decisions, the envelope."""

import json
import time
from datetime import UTC, datetime
from ipaddress import ip_network
from random import Random
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from standardwebhooks import Webhook as StandardWebhook

from relay.rules.agenda import Agenda
from relay.rules.policy import decide, failure
from relay.rules.turns import Turns
from relay.send.envelope import envelope, shown_headers
from relay.send.target import Target
from service.delivery import sign
from service.delivery.address import AddressRefused, check_address
from service.delivery.subject import audience_of
from service.events.catalogue import CATALOGUE
from service.platform.ids import new_id

A, B, C = (UUID(int=number) for number in (1, 2, 3))


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "192.0.2.1",
        "198.18.0.1",
        "::1",
        "::",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "fec0::1",
        "ff02::1",
        "::ffff:10.0.0.1",
        "64:ff9b::a00:1",
        "2002:a00:1::1",
        "192.0.0.9",
        "192.0.0.170",
        "::8.8.8.8",
        "::10.0.0.1",
        "::ffff:0:10.0.0.1",
        "3fff::1",
        "5f00::1",
    ],
)
def test_an_address_of_our_own_networks_is_refused(address: str) -> None:
    with pytest.raises(AddressRefused):
        check_address(address, [])


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_a_public_address_is_not_refused(address: str) -> None:
    check_address(address, [])


def test_an_allowed_network_is_exempt_and_nothing_beside_it() -> None:
    allowed = [ip_network("10.1.0.0/16"), ip_network("::1/128")]
    check_address("10.1.2.3", allowed)
    check_address("::ffff:10.1.2.3", allowed)
    check_address("::1", allowed)
    for address in ("10.2.0.1", "127.0.0.1", "fe80::1"):
        with pytest.raises(AddressRefused):
            check_address(address, allowed)


def taken(agenda: Agenda) -> list[UUID]:
    """The lanes that have a turn. Their turn is over then."""
    turns = list(agenda.turns)
    agenda.turns = Turns()
    return turns


def test_a_lane_comes_to_its_turn_at_its_soonest_time_and_says_so_if_it_is_the_next() -> None:
    agenda = Agenda()
    assert agenda.look_at(A, 10.0)
    assert agenda.look_at(A, 5.0)
    assert not agenda.look_at(A, 7.0)
    assert not agenda.look_at(B, 20.0)
    agenda.advance(4.9)
    assert len(agenda.turns) == 0
    assert agenda.next_due() == 5.0
    agenda.advance(10.0)
    assert taken(agenda) == [A]
    agenda.advance(20.0)
    assert taken(agenda) == [B]
    assert agenda.next_due() is None


def test_a_lane_comes_to_its_turn_again_at_each_time_that_a_delivery_is_due_there() -> None:
    agenda = Agenda()
    for seconds in (50.0, 100.0, 30.0, 100.0):
        agenda.due_in(A, seconds)
    turns = 0
    while (soonest := agenda.next_due()) is not None:
        agenda.advance(soonest)
        turns += len(taken(agenda))
    assert turns in {3, 4}


@given(st.lists(st.floats(0, 86_400), min_size=1, max_size=50))
def test_a_lane_is_looked_at_once_what_it_waits_for_is_due_and_little_later(waits: list[float]) -> None:
    agenda = Agenda()
    began = time.monotonic()
    for seconds in waits:
        agenda.due_in(A, seconds)
    ended = time.monotonic()
    looks = [began, ended] if taken(agenda) else []
    while (soonest := agenda.next_due()) is not None:
        looks.append(soonest)
        agenda.advance(soonest)
    for seconds in waits:
        due = [look for look in looks if began + seconds <= look <= ended + max(seconds, 0.01) * (1 + 1 / 64)]
        assert due


@given(st.lists(st.tuples(st.sampled_from([A, B, C]), st.floats(0, 100)), min_size=1))
def test_no_lane_is_forgotten_and_none_is_late(times: list[tuple[UUID, float]]) -> None:
    agenda = Agenda()
    for lane, when in times:
        agenda.look_at(lane, when)
    soonest = {lane: min(when for other, when in times if other == lane) for lane, _ in times}
    for now in sorted(set(soonest.values())):
        following = agenda.next_due()
        assert following is None or following <= now
        agenda.advance(now)
    assert set(taken(agenda)) == set(soonest)


@example(status=410, attempt=1, max_retries=3, first=5000, seed=0)
@given(
    status=st.one_of(st.none(), st.integers(100, 599)),
    attempt=st.integers(1, 25),
    max_retries=st.integers(0, 20),
    first=st.integers(100, 60_000),
    seed=st.integers(),
)
def test_only_a_2xx_delivers_and_retries_end(
    status: int | None, attempt: int, max_retries: int, first: int, seed: int
) -> None:
    decision = decide(status, attempt=attempt, max_retries=max_retries, first_delay_ms=first, rng=Random(seed))
    if status is not None and 200 <= status < 300:
        assert decision.outcome == "success"
        assert failure(status, None) is None
    else:
        assert decision.outcome == ("retry" if attempt <= max_retries and status != 410 else "failed")
        assert failure(status, None)
    assert (decision.delay_ms is not None) == (decision.outcome == "retry")
    if decision.delay_ms is not None:
        doubled = min(first * 2 ** (attempt - 1), 86_400_000)
        assert 0.8 * doubled - 1 <= decision.delay_ms <= min(1.2 * doubled + 1, 86_400_000)


@example(status=410, attempt=1, schedule=[100], seed=0)
@given(
    status=st.one_of(st.none(), st.integers(100, 599)),
    attempt=st.integers(1, 25),
    schedule=st.lists(st.integers(100, 86_400_000), min_size=1, max_size=20),
    seed=st.integers(),
)
def test_a_schedule_says_how_often_and_when_and_the_rest_of_the_policy_says_nothing(
    status: int | None, attempt: int, schedule: list[int], seed: int
) -> None:
    decision = decide(status, attempt=attempt, max_retries=3, first_delay_ms=5000, rng=Random(seed), schedule=schedule)
    if status is not None and 200 <= status < 300:
        assert decision.outcome == "success"
    elif status == 410 or attempt > len(schedule):
        assert decision.outcome == "failed"
    else:
        assert decision.outcome == "retry"
        assert decision.delay_ms is not None
        exact = schedule[attempt - 1]
        assert 0.8 * exact - 1 <= decision.delay_ms <= min(1.2 * exact + 1, 86_400_000)


def test_the_envelope_is_what_both_signatures_say() -> None:
    target = Target(
        new_id(), 1, "https://example.org/", 3, 5000, 30_000, secret=sign.new_secret(), headers={"X-Key": "k3y"}
    )
    data = '{"name":"½ 漢字 \u2028 </script>"}'.encode()
    event_id = new_id()
    sent = envelope(
        target,
        event_id=event_id,
        event_type="item-created",
        data=data,
        occurred_at=datetime(2026, 2, 18, 9, 30, 0, 123456, tzinfo=UTC),
        attempt=2,
        timestamp=int(datetime.now(UTC).timestamp()),
    )
    assert sent.body == (
        b'{"id":"%s","eventType":"item-created","data":%s,"timestamp":"2026-02-18T09:30:00.123Z","attempt":2}'
        % (str(event_id).encode(), data)
    )
    assert sent.headers["X-Webhook-Signature"] == sign.sign_data(target.secret, data)
    StandardWebhook(target.secret).verify(sent.body, sent.headers)
    shown = json.loads(shown_headers(target, sent))
    assert shown["X-Key"] == shown["X-Webhook-Signature"] == shown["webhook-signature"] == "[set]"
    assert shown["webhook-id"] == str(event_id)


def test_a_subscriber_cannot_replace_what_the_relay_sets() -> None:
    target = Target(
        new_id(),
        1,
        "https://example.org/",
        3,
        5000,
        30_000,
        secret=sign.new_secret(),
        headers={"X-Event-Type": "forged"},
    )
    sent = envelope(
        target, event_id=new_id(), event_type="test", data=b"{}", occurred_at=datetime.now(UTC), attempt=1, timestamp=1
    )
    assert sent.headers["X-Event-Type"] == "test"


def test_every_type_of_the_catalogue_has_an_audience() -> None:
    assert {event_type: audience_of(event_type) for event_type in CATALOGUE if audience_of(event_type) == "other"} == {}
    assert audience_of("item-checkout") == audience_of("checkout-rejected") == "checkout"
    assert audience_of("password-changed") == "user"
    assert audience_of("something-else") == "other"
