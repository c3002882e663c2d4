"""The client's address of a request, from the headers of proxies."""

from collections.abc import Mapping, Sequence
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy

from service.api.client import Client, client_of, parse_address
from service.api.connections import LEAST_RATE, Connections, Limits, body_seconds, peer_of

TRUSTED = [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]
PROXY = "10.0.0.1"


def _client(
    peer: str | None,
    forwarded_for: Sequence[str] = (),
    forwarded: Sequence[Mapping[str, str]] = (),
    **headers: str,
) -> Client:
    given = CIMultiDict([("X-Forwarded-For", line) for line in forwarded_for])
    given.update({name.replace("_", "-"): value for name, value in headers.items()})
    return client_of(peer, CIMultiDictProxy(given), forwarded, TRUSTED)


@pytest.mark.parametrize(
    ("lines", "address"),
    [
        (["192.0.2.1"], "192.0.2.1"),
        (["192.0.2.1, 10.0.0.2"], "192.0.2.1"),
        # A client's own entry is on the left of the entries by proxies.
        (["198.51.100.9, 192.0.2.1"], "192.0.2.1"),
        (["198.51.100.9, 10.9.9.9, 192.0.2.1, 10.0.0.2"], "192.0.2.1"),
        (["198.51.100.9", "192.0.2.1", "10.0.0.2"], "192.0.2.1"),
        (["192.0.2.1:4711"], "192.0.2.1"),
        (["2001:db8::1"], "2001:db8::1"),
        (["[2001:db8::1]:4711"], "2001:db8::1"),
        (["::ffff:192.0.2.1"], "192.0.2.1"),
        (["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ([""], PROXY),
        (["unknown"], PROXY),
        (["192.0.2.1, unknown"], PROXY),
        (["192.0.2.1, unknown, 10.0.0.2"], "10.0.0.2"),
        (["fe80::1%" + "x" * 100], PROXY),
        (["999.1.1.1"], PROXY),
    ],
)
def test_the_client_is_the_rightmost_hop_that_is_not_trusted(lines: list[str], address: str) -> None:
    assert _client(PROXY, lines).address == address
    hops = [hop.strip() for hop in ",".join(lines).split(",")]
    assert _client(PROXY, forwarded=[{"for": hop} for hop in hops]).address == address


@pytest.mark.parametrize("peer", ["192.0.2.7", "11.0.0.1", "2001:db8::7"])
def test_headers_of_a_peer_that_is_not_trusted_count_for_nothing(peer: str) -> None:
    client = _client(
        peer,
        ["198.51.100.9"],
        [{"for": "198.51.100.9", "proto": "https", "host": "forged"}],
        X_Forwarded_Proto="https",
        X_Forwarded_Host="forged",
    )
    assert client == Client(peer)


def test_a_trusted_peer_of_ipv4_within_ipv6_is_trusted() -> None:
    assert _client("::ffff:10.0.0.1", ["192.0.2.1"]).address == "192.0.2.1"


def test_where_the_two_headers_differ_neither_is_believed() -> None:
    assert _client(PROXY, ["192.0.2.1"], [{"for": "198.51.100.9"}]).address == PROXY
    assert _client(PROXY, ["192.0.2.1"], [{"for": "192.0.2.1"}]).address == "192.0.2.1"


def test_scheme_and_host_are_the_last_proxys_if_they_are_ones() -> None:
    client = _client(PROXY, X_Forwarded_Proto="http, HTTPS", X_Forwarded_Host="inner, shop.example.org:8443")
    assert (client.scheme, client.host) == ("https", "shop.example.org:8443")
    of_elements = _client(PROXY, forwarded=[{"for": "192.0.2.1", "proto": "https", "host": "[2001:db8::1]:8443"}])
    assert (of_elements.scheme, of_elements.host) == ("https", "[2001:db8::1]:8443")
    bad = _client(PROXY, X_Forwarded_Proto="javascript", X_Forwarded_Host="a b<script>")
    assert (bad.scheme, bad.host) == (None, None)


@given(
    peer=st.one_of(st.none(), st.text(max_size=20), st.sampled_from([PROXY, "192.0.2.7", "fd00::1"])),
    lines=st.lists(st.text(max_size=200), max_size=4),
    elements=st.lists(
        st.dictionaries(st.sampled_from(["for", "proto", "host", "by"]), st.text(max_size=50)), max_size=4
    ),
)
def test_nothing_malformed_raises_and_no_text_but_an_address_comes_out(
    peer: str | None, lines: list[str], elements: list[dict[str, str]]
) -> None:
    address = _client(peer, lines, elements).address
    assert address == peer or parse_address(address) is not None


def test_a_chain_of_any_length_is_looked_at_no_further_than_it_must() -> None:
    assert _client(PROXY, ["192.0.2.1, " + ", ".join(["10.0.0.2"] * 5000)]).address == "10.0.0.2"


# The address by which a connection is counted


@pytest.mark.parametrize(
    ("host", "trusted", "peer"),
    [
        ("8.8.8.8", False, "8.8.8.8"),
        ("8.8.8.8", True, "8.8.8.8"),
        ("::ffff:8.8.8.8", False, "8.8.8.8"),
        ("2a00:1450:4001:81b::200e", False, "2a00:1450:4001:81b::/64"),
        ("127.0.0.1", False, None),
        ("192.168.1.1", False, None),
        ("192.168.1.1", True, "192.168.1.1"),
        ("10.0.0.1", True, None),
        (None, True, None),
    ],
)
def test_connections_are_counted_by_peer_unless_it_may_bring_many_clients(
    host: str | None, trusted: bool, peer: str | None
) -> None:
    assert peer_of(host, TRUSTED if trusted else []) == peer


@pytest.mark.parametrize(
    ("announced", "seconds"), [(None, 30), (0, 30), (256 * 1024, 30), (LEAST_RATE * 40, 40), (10 * 1024**2, 640)]
)
def test_a_body_has_its_time_or_as_much_longer_as_the_least_rate_allows(announced: int | None, seconds: float) -> None:
    assert body_seconds(30_000, announced) == seconds


def test_a_place_is_free_again_when_its_connection_has_ended() -> None:
    connections = Connections(Limits(10, 10, connections=3, connections_per_peer=2))
    assert [connections.enter("a") for _ in range(3)] == [True, True, False]
    assert [connections.enter(None) for _ in range(2)] == [True, False]
    connections.leave("a")
    assert [connections.enter("a"), connections.enter("b")] == [True, False]
