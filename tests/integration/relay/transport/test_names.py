"""Names and addresses: resolving, caching, the addresses that may be connected to, and their
order."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_network

import pytest

from relay.transport import HttpTransport
from relay.transport.resolver import MAX_ADDRESSES, Resolver, Unresolvable
from tests.support.receivers.dns_server import SERVFAIL, Names
from tests.support.receivers.scripted_server import PATIENT_MS, Peer, answering, ok, serve

MakeResolver = Callable[..., Awaitable[Resolver]]


@pytest.fixture
async def make_resolver(dns: Names) -> AsyncIterator[MakeResolver]:
    made: list[Resolver] = []

    async def make(**options: float) -> Resolver:
        made.append(Resolver([dns.address], **options))
        return made[-1]

    yield make
    for resolver in made:
        await resolver.close()


@pytest.fixture
def transport(resolving: HttpTransport) -> HttpTransport:
    return resolving


@contextmanager
def deaf(address: str, port: int) -> Iterator[None]:
    """An address and port where connecting neither succeeds nor fails, because the queue of a
    listener that accepts nothing is full."""
    with socket.socket() as listener:
        listener.bind((address, port))
        listener.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for caller in waiting:
            caller.setblocking(False)
            caller.connect_ex((address, port))
        yield
        for caller in waiting:
            caller.close()


def at(url: str, host: str) -> str:
    return url.replace("127.0.0.1", host)


async def test_a_name_is_resolved_once_while_its_answer_is_kept(dns: Names, make_resolver: MakeResolver) -> None:
    dns.known["a.test"] = ["127.0.0.1", "127.0.0.2", "::1"]
    resolver = await make_resolver()
    for _ in range(3):
        assert set(await resolver.resolve("a.test")) == {"127.0.0.1", "127.0.0.2", "::1"}
    assert dns.asked["a.test"] == 1


async def test_of_a_name_with_many_addresses_a_few_of_each_family_are_kept(
    dns: Names, make_resolver: MakeResolver
) -> None:
    dns.known["a.test"] = [f"127.0.1.{number}" for number in range(20)] + [f"::1:{number:x}" for number in range(20)]
    addresses = await (await make_resolver()).resolve("a.test")
    assert len([address for address in addresses if ":" in address]) == MAX_ADDRESSES
    assert len([address for address in addresses if ":" not in address]) == MAX_ADDRESSES


async def test_many_who_ask_at_once_cause_one_query(dns: Names, make_resolver: MakeResolver) -> None:
    dns.known["a.test"] = ["127.0.0.1"]
    resolver = await make_resolver(max_ttl_seconds=0)
    assert await asyncio.gather(*(resolver.resolve("a.test") for _ in range(50))) == [("127.0.0.1",)] * 50
    assert dns.asked["a.test"] == 1


async def test_one_who_gives_up_does_not_take_the_answer_from_the_others(
    dns: Names, make_resolver: MakeResolver
) -> None:
    dns.known["a.test"] = ["127.0.0.1"]
    resolver = await make_resolver()
    first = asyncio.create_task(resolver.resolve("a.test"))
    second = asyncio.create_task(resolver.resolve("a.test"))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == ("127.0.0.1",)


async def test_a_change_is_seen_although_the_old_answer_may_be_kept_for_a_minute(
    dns: Names, make_resolver: MakeResolver
) -> None:
    dns.known["a.test"] = ["127.0.0.1"]
    dns.ttl = 60
    resolver = await make_resolver(max_ttl_seconds=0.05, failure_seconds=0.05)
    assert await resolver.resolve("a.test") == ("127.0.0.1",)
    dns.known["a.test"] = ["127.0.0.2"]
    async with asyncio.timeout(30):
        while await resolver.resolve("a.test") != ("127.0.0.2",):
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("known", "why"),
    [
        (None, "cannot resolve the host: Domain name not found"),
        (SERVFAIL, "cannot resolve the host: DNS server returned general failure"),
        ([], "cannot resolve the host: DNS server returned answer with no data"),
    ],
)
async def test_a_name_that_fails_is_an_error_which_is_kept_for_a_moment(
    dns: Names, make_resolver: MakeResolver, known: list[str] | int | None, why: str
) -> None:
    if known is not None:
        dns.known["a.test"] = known
    resolver = await make_resolver(failure_seconds=60)
    for _ in range(2):
        with pytest.raises(Unresolvable, match=why):
            await resolver.resolve("a.test")
    asked = dns.asked["a.test"]
    dns.known["a.test"] = ["127.0.0.1"]
    with pytest.raises(Unresolvable, match=why):
        await resolver.resolve("a.test")
    assert dns.asked["a.test"] == asked


async def test_a_name_that_flaps_resolves_again(dns: Names, make_resolver: MakeResolver) -> None:
    resolver = await make_resolver(max_ttl_seconds=0.05, failure_seconds=0.05)
    for known in (SERVFAIL, ["127.0.0.1"], SERVFAIL, ["127.0.0.2"]):
        dns.known["a.test"] = known
        expected = None if isinstance(known, int) else tuple(known)
        async with asyncio.timeout(30):
            while True:
                try:
                    found: tuple[str, ...] | None = await resolver.resolve("a.test")
                except Unresolvable:
                    found = None
                if found == expected:
                    break
                await asyncio.sleep(0.01)


async def test_a_name_that_hangs_ends_and_holds_up_no_other(dns: Names, make_resolver: MakeResolver) -> None:
    hanging = {f"h{number}.test" for number in range(200)}
    dns.silent = set(hanging)
    dns.known["a.test"] = ["127.0.0.1"]
    resolver = await make_resolver(query_seconds=60)
    waiting = [asyncio.create_task(resolver.resolve(name)) for name in hanging]
    while len(dns.asked) < len(hanging):
        await asyncio.sleep(0.01)
    assert await resolver.resolve("a.test") == ("127.0.0.1",)
    assert not any(task.done() for task in waiting)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)

    impatient = await make_resolver(query_seconds=0.2)
    with pytest.raises(Unresolvable, match="no answer in time"):
        await impatient.resolve("h1.test")


async def test_a_name_server_that_keeps_silent_about_ipv6_costs_only_time(
    dns: Names, make_resolver: MakeResolver
) -> None:
    dns.known["a.test"] = ["127.0.0.1"]
    dns.silent_about_ipv6.add("a.test")
    assert await (await make_resolver()).resolve("a.test") == ("127.0.0.1",)


async def test_one_deadline_covers_a_name_that_hangs(dns: Names, transport: HttpTransport) -> None:
    dns.silent.add("a.test")
    exchange = await transport.post("http://a.test/", {}, b"{}", 300)
    assert (exchange.status, exchange.error) == (None, "no complete answer within 300 ms")
    assert exchange.dns_us is not None
    assert exchange.connect_us is None


async def test_a_name_leads_to_its_address(dns: Names, transport: HttpTransport) -> None:
    dns.known["a.test"] = ["127.0.0.1"]
    async with serve(answering(ok())) as server:
        exchange = await transport.post(at(server.url, "a.test"), {}, b"{}", PATIENT_MS)
    assert exchange.status == 200
    assert exchange.dns_us is not None
    assert b"\r\nHost: a.test:" in server.requests[0]


@pytest.mark.parametrize("host", ["no-such-host.test", "a..test", "a" * 70 + ".test", "127.1"])
async def test_a_host_that_is_unknown_is_an_error(transport: HttpTransport, host: str) -> None:
    exchange = await transport.post(f"http://{host}/", {}, b"{}", PATIENT_MS)
    assert exchange.status is None
    assert (exchange.error or "").startswith("cannot resolve the host: ")


async def test_localhost_needs_no_dns(dns: Names, transport: HttpTransport) -> None:
    async with serve(answering(ok())) as server:
        assert (await transport.post(at(server.url, "localhost"), {}, b"{}", PATIENT_MS)).status == 200
    assert not dns.asked


async def test_ipv6(transport: HttpTransport) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("the machine has no IPv6")
    async with serve(answering(ok()), host="::1") as server:
        assert (await transport.post(server.url, {}, b"{}", PATIENT_MS)).status == 200
    assert server.requests[0].startswith(b"POST /hook HTTP/1.1\r\nHost: [::1]:")


async def test_a_connection_that_is_refused_is_an_error(transport: HttpTransport) -> None:
    async with serve(answering(ok())) as server:
        pass
    exchange = await transport.post(server.url, {}, b"{}", PATIENT_MS)
    assert (exchange.status, exchange.error) == (None, "cannot connect to 127.0.0.1: connection refused")


async def test_an_address_that_refuses_or_does_not_answer_gives_way_to_the_next(
    dns: Names, transport: HttpTransport
) -> None:
    dns.known["refusing.test"] = ["127.0.0.2", "127.0.0.1"]
    dns.known["deaf.test"] = ["127.0.0.3", "127.0.0.1"]
    async with serve(answering(ok(b"", b"Connection: close"))) as server:
        port = int(server.url.rpartition(":")[2].partition("/")[0])
        with deaf("127.0.0.3", port):
            for host in ("refusing.test", "deaf.test"):
                assert (await transport.post(at(server.url, host), {}, b"{}", PATIENT_MS)).status == 200, host


async def test_one_deadline_covers_connecting(transport: HttpTransport) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.4", 0))
        port = probe.getsockname()[1]
    with deaf("127.0.0.4", port):
        exchange = await transport.post(f"http://127.0.0.4:{port}/", {}, b"{}", 300)
        async with asyncio.timeout(30):
            # No task goes on trying.
            while len(asyncio.all_tasks()) > 1:
                await asyncio.sleep(0)
    assert (exchange.status, exchange.error) == (None, "no complete answer within 300 ms")
    assert not transport.pool.open


async def test_a_private_address_is_refused_whether_named_or_resolved(dns: Names) -> None:
    dns.known["inside.test"] = ["10.1.2.3"]
    dns.known["mapped.test"] = ["::ffff:127.0.0.1"]
    transport = HttpTransport([], resolver=Resolver([dns.address]))
    try:
        hosts = ("127.0.0.1", "localhost", "[::1]", "0.0.0.0", "[::ffff:10.0.0.1]", "inside.test", "mapped.test")
        for host in hosts:
            exchange = await transport.post(f"http://{host}:1/", {}, b"{}", PATIENT_MS)
            assert exchange.status is None
            assert "private address" in (exchange.error or ""), host
            assert exchange.connect_us is None
    finally:
        await transport.close()


async def test_of_several_addresses_only_those_that_are_allowed_are_connected_to(dns: Names) -> None:
    dns.known["both.test"] = ["127.0.0.2", "127.0.0.1"]
    transport = HttpTransport([ip_network("127.0.0.1/32")], resolver=Resolver([dns.address]))
    reached: list[str] = []

    async def script(peer: Peer) -> None:
        await peer.request()
        reached.append(peer.address)
        await peer.send(ok(b"", b"Connection: close"))

    try:
        async with serve(script, host="0.0.0.0") as server:
            url = at(server.url.replace("0.0.0.0", "127.0.0.1"), "both.test")
            assert (await transport.post(url, {}, b"{}", PATIENT_MS)).status == 200
            dns.known["only.test"] = ["127.0.0.2"]
            refused = await transport.post(url.replace("both.test", "only.test"), {}, b"{}", PATIENT_MS)
    finally:
        await transport.close()
    assert reached == ["127.0.0.1"]
    assert refused.error == "127.0.0.2 is a private address, and not in WEBHOOK_ALLOWED_NETWORKS"


async def test_an_answer_that_has_changed_since_is_checked_anew(dns: Names) -> None:
    """Rebinding: the name resolves first to an allowed address, then to an internal one."""
    dns.known["turns.test"] = ["127.0.0.1"]
    dns.ttl = 0
    transport = HttpTransport([ip_network("127.0.0.1/32")], resolver=Resolver([dns.address], failure_seconds=0))
    reached: list[str] = []

    async def script(peer: Peer) -> None:
        await peer.request()
        reached.append(peer.address)
        await peer.send(ok(b"", b"Connection: close"))

    try:
        async with serve(script, host="0.0.0.0") as server:
            url = server.url.replace("0.0.0.0", "turns.test")
            assert (await transport.post(url, {}, b"{}", PATIENT_MS)).status == 200
            dns.known["turns.test"] = ["127.0.0.2"]
            async with asyncio.timeout(30):
                while (await transport.post(url, {}, b"{}", PATIENT_MS)).status is not None:
                    pass
    finally:
        await transport.close()
    assert set(reached) == {"127.0.0.1"}
