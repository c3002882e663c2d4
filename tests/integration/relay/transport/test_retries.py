"""A retry differs from the attempt that failed: it uses another connection, another address, or a
new answer of the DNS."""

import asyncio

import pytest

from relay.rules.endpoint import Origin
from relay.transport import HttpTransport
from relay.transport.addresses import AddressOrder
from relay.transport.resolver import Resolver, Unresolvable
from tests.support.receivers.dns_server import SERVFAIL, Names
from tests.support.receivers.forgetful_nat import forgetful_nat
from tests.support.receivers.scripted_server import PATIENT_MS, SHORT_MS, Peer, Script, ok, serve

ORIGIN = Origin("http", "a.test", 80)


def together(count: int) -> Script:
    """Answers the first requests once this many have come, so that each has a connection of its
    own."""
    barrier = asyncio.Barrier(count)

    async def script(peer: Peer) -> None:
        await peer.request()
        if peer.number <= count:
            await barrier.wait()
        await peer.send(ok())
        while True:
            await peer.request()
            await peer.send(ok())

    return script


async def statuses(transport: HttpTransport, url: str, count: int) -> list[int | None]:
    exchanges = await asyncio.gather(*(transport.post(url, {}, b"{}", PATIENT_MS) for _ in range(count)))
    return [exchange.status for exchange in exchanges]


async def test_after_a_kept_connection_gave_no_byte_the_next_request_dials(transport: HttpTransport) -> None:
    async with serve(together(12)) as server, forgetful_nat(server.url) as nat:
        assert await statuses(transport, nat.url, 12) == [200] * 12
        assert transport.pool.idle == 12
        nat.forget()
        silent = await transport.post(nat.url, {}, b"{}", SHORT_MS)
        assert (silent.status, silent.error) == (None, f"no complete answer within {SHORT_MS} ms")
        assert not transport.pool.idle
        assert (await transport.post(nat.url, {}, b"{}", PATIENT_MS)).status == 200
        assert nat.opened == 13


async def test_siblings_that_answered_while_one_was_silent_are_kept(transport: HttpTransport) -> None:
    release = asyncio.Event()
    both = asyncio.Barrier(2)

    async def script(peer: Peer) -> None:
        await peer.request()
        await both.wait()
        await peer.send(ok())
        while True:
            if b"?hang" in await peer.request():
                await release.wait()
            await peer.send(ok())

    async with serve(script) as server:
        assert await statuses(transport, server.url, 2) == [200] * 2
        hanging = asyncio.create_task(transport.post(server.url + "?hang", {}, b"{}", SHORT_MS))
        while len(server.requests) < 3:
            await asyncio.sleep(0.01)
        assert (await transport.post(server.url, {}, b"{}", PATIENT_MS)).status == 200
        assert (await hanging).status is None
        assert transport.pool.idle == 1
        assert (await transport.post(server.url, {}, b"{}", PATIENT_MS)).status == 200
        release.set()
    assert server.connections == 2


async def test_other_origins_keep_their_connections(transport: HttpTransport) -> None:
    async with serve(together(1)) as server, serve(together(1)) as other, forgetful_nat(server.url) as nat:
        assert (await transport.post(nat.url, {}, b"{}", PATIENT_MS)).status == 200
        assert (await transport.post(other.url, {}, b"{}", PATIENT_MS)).status == 200
        nat.forget()
        assert (await transport.post(nat.url, {}, b"{}", SHORT_MS)).status is None
        assert transport.pool.idle == 1
        assert (await transport.post(other.url, {}, b"{}", PATIENT_MS)).status == 200
    assert other.connections == 1


async def test_a_retry_goes_over_a_new_connection_though_one_is_kept(transport: HttpTransport) -> None:
    """Another relay's kept connection may have failed. This relay does not know, so it does not use
    its own."""
    async with serve(together(1)) as server, forgetful_nat(server.url) as nat:
        assert (await transport.post(nat.url, {}, b"{}", PATIENT_MS)).status == 200
        nat.forget()
        assert transport.pool.idle == 1
        assert (await transport.post(nat.url, {}, b"{}", PATIENT_MS, retry=1)).status == 200


@pytest.mark.parametrize("how", ["hangs", "closes", "answers 500"])
async def test_a_retry_goes_to_another_address(dns: Names, resolving: HttpTransport, how: str) -> None:
    dns.known["two.test"] = ["127.0.0.2", "127.0.0.3"]
    tried: list[str] = []

    async def script(peer: Peer) -> None:
        await peer.request()
        tried.append(peer.address)
        if len(tried) > 1:
            await peer.send(ok())
        elif how == "hangs":
            await peer.gone()
        elif how == "answers 500":
            await peer.send(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")

    async with serve(script, host="0.0.0.0") as server:
        url = f"http://two.test:{server.url.rpartition(':')[2]}"
        first = await resolving.post(url, {}, b"{}", SHORT_MS if how == "hangs" else PATIENT_MS)
        assert first.status in {None, 500}
        assert (await resolving.post(url, {}, b"{}", PATIENT_MS, retry=1)).status == 200
    assert len(set(tried)) == len(tried) == 2


async def test_an_address_that_failed_is_avoided_by_other_requests_too(dns: Names, resolving: HttpTransport) -> None:
    dns.known["two.test"] = ["127.0.0.2", "127.0.0.3"]
    tried: list[str] = []

    async def script(peer: Peer) -> None:
        await peer.request()
        tried.append(peer.address)
        if peer.address == tried[0]:
            await peer.gone()
        await peer.send(ok(b"", b"Connection: close"))

    async with serve(script, host="0.0.0.0") as server:
        url = f"http://two.test:{server.url.rpartition(':')[2]}"
        assert (await resolving.post(url, {}, b"{}", SHORT_MS)).status is None
        for _ in range(3):
            assert (await resolving.post(url, {}, b"{}", PATIENT_MS)).status == 200
    assert tried.count(tried[0]) == 1


def test_the_first_attempt_keeps_the_resolvers_order() -> None:
    assert list(AddressOrder().sort(ORIGIN, ("b", "a", "c"), 0)) == ["b", "a", "c"]


def test_retries_of_relays_that_know_nothing_of_each_other_cover_all_addresses() -> None:
    given = [("b", "a", "c"), ("c", "b", "a"), ("a", "c", "b")]
    started = [AddressOrder().sort(ORIGIN, addresses, retry)[0] for retry, addresses in enumerate(given, 1)]
    assert sorted(started) == ["a", "b", "c"]


def test_what_failed_longest_ago_is_tried_first_of_those_that_failed() -> None:
    order = AddressOrder()
    for address in ("a", "b"):
        order.failed(ORIGIN, address)
    assert list(order.sort(ORIGIN, ("b", "a", "c"), 0)) == ["c", "a", "b"]
    order.answered(ORIGIN, "b")
    assert list(order.sort(ORIGIN, ("b", "a", "c"), 0)) == ["b", "c", "a"]
    elsewhere = Origin("http", "b.test", 80)
    assert list(order.sort(elsewhere, ("a", "b"), 0)) == ["a", "b"]


def test_a_failure_is_forgotten_after_a_while() -> None:
    order = AddressOrder(failed_seconds=0)
    order.failed(ORIGIN, "a")
    assert list(order.sort(ORIGIN, ("a", "b"), 0)) == ["a", "b"]


async def test_a_retry_asks_the_dns_again_after_a_failure(dns: Names) -> None:
    """A failure is cached for first attempts, so that many of them cause one query. With the cached
    failure, all retries would fail."""
    dns.known["a.test"] = SERVFAIL
    resolver = Resolver([dns.address], failure_seconds=3600)
    try:
        with pytest.raises(Unresolvable):
            await resolver.resolve("a.test")
        dns.known["a.test"] = ["127.0.0.1"]
        with pytest.raises(Unresolvable):
            await resolver.resolve("a.test")
        async with asyncio.timeout(30):
            while True:
                try:
                    assert await resolver.resolve("a.test", retry=True) == ("127.0.0.1",)
                    break
                except Unresolvable:
                    await asyncio.sleep(0.01)
    finally:
        await resolver.close()
