"""TLS: the certificates that the transport trusts, and its error for any other."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from relay.transport import HttpTransport
from relay.transport.tls import client_context
from tests.support.receivers.certificates import Authority
from tests.support.receivers.rude_tls_server import RudeServer, rude_server
from tests.support.receivers.scripted_server import LOOPBACK, PATIENT_MS, Peer, Script, answering, hang, ok, serve


@pytest.fixture(params=["a bare authority", "a complete authority"])
def authority(request: pytest.FixtureRequest, tmp_path: Path) -> Authority:
    return Authority(tmp_path, complete=request.param == "a complete authority")


@pytest.fixture
async def trusting(authority: Authority) -> AsyncIterator[HttpTransport]:
    transport = HttpTransport(LOOPBACK, tls=authority.trusted())
    yield transport
    await transport.close()


def by_name(url: str) -> str:
    return url.replace("127.0.0.1", "localhost")


async def test_a_valid_certificate_is_believed_and_the_host_named(
    trusting: HttpTransport, authority: Authority
) -> None:
    named: list[str | None] = []
    context = authority.server("localhost")
    context.sni_callback = lambda _, name, __: named.append(name)

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(ok(b"safe"))

    async with serve(script, tls=context) as server:
        first = await trusting.post(by_name(server.url), {}, b"{}", PATIENT_MS)
        second = await trusting.post(by_name(server.url), {}, b"{}", PATIENT_MS)
    assert (first.status, first.body, second.status) == (200, b"safe", 200)
    assert first.tls_us is not None
    assert first.dns_us is not None
    assert second.tls_us is None
    assert (server.connections, named) == (1, ["localhost"])


async def test_a_certificate_may_name_an_address(trusting: HttpTransport, authority: Authority) -> None:
    async with serve(answering(ok(b"x" * 100_000)), tls=authority.server("127.0.0.1")) as server:
        assert (await trusting.post(server.url, {}, b"{}" * 100_000, PATIENT_MS)).status == 200


async def test_a_body_may_end_with_the_connection(trusting: HttpTransport, authority: Authority) -> None:
    async with serve(answering(b"HTTP/1.1 200 OK\r\n\r\nthe end"), tls=authority.server("127.0.0.1")) as server:
        assert (await trusting.post(server.url, {}, b"{}", PATIENT_MS)).body == b"the end"


@pytest.mark.parametrize(
    ("host", "expired", "self_signed", "why"),
    [
        ("127.0.0.1", True, False, "certificate has expired"),
        ("other.example", False, False, "IP address mismatch, certificate is not valid for '127.0.0.1'."),
        ("127.0.0.1", False, True, "self-signed certificate"),
    ],
)
async def test_a_wrong_certificate_is_an_error_that_says_why(
    trusting: HttpTransport, authority: Authority, host: str, expired: bool, self_signed: bool, why: str
) -> None:
    context = authority.server(host, expired=expired, self_signed=self_signed)
    async with serve(answering(ok()), tls=context) as server:
        exchange = await trusting.post(server.url, {}, b"{}", PATIENT_MS)
    assert (exchange.status, exchange.error) == (None, f"the certificate is not valid: {why}")
    assert exchange.connect_us is not None
    assert server.requests == []


async def test_a_certificate_for_another_host_name_is_refused(trusting: HttpTransport, authority: Authority) -> None:
    async with serve(answering(ok()), tls=authority.server("other.example", "127.0.0.1")) as server:
        exchange = await trusting.post(by_name(server.url), {}, b"{}", PATIENT_MS)
    assert exchange.error is not None
    assert exchange.error.startswith("the certificate is not valid: Hostname mismatch")
    assert server.requests == []


async def test_an_authority_that_the_system_does_not_know_is_refused(
    transport: HttpTransport, authority: Authority
) -> None:
    async with serve(answering(ok()), tls=authority.server("127.0.0.1")) as server:
        exchange = await transport.post(server.url, {}, b"{}", PATIENT_MS)
    assert exchange.error == "the certificate is not valid: unable to get local issuer certificate"


async def test_an_old_protocol_is_refused(trusting: HttpTransport, authority: Authority) -> None:
    context = authority.server("127.0.0.1")
    with pytest.warns(DeprecationWarning, match="TLSVersion"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.warns(DeprecationWarning, match="TLSVersion"):
        context.minimum_version = ssl.TLSVersion.TLSv1
    async with serve(answering(ok()), tls=context) as server:
        exchange = await trusting.post(server.url, {}, b"{}", PATIENT_MS)
    assert exchange.error is not None
    assert exchange.error.startswith("TLS failed: ")


async def speaks_plainly(peer: Peer) -> None:
    await peer.send(ok())


async def closes(peer: Peer) -> None:
    pass


@pytest.mark.parametrize("script", [speaks_plainly, closes])
async def test_a_server_without_tls_is_an_error(trusting: HttpTransport, script: Script) -> None:
    async with serve(script) as server:
        exchange = await trusting.post(server.url.replace("http:", "https:"), {}, b"{}", PATIENT_MS)
    assert exchange.status is None
    assert (exchange.error or "").startswith("TLS failed: ")


async def test_one_deadline_covers_a_handshake_that_hangs(trusting: HttpTransport) -> None:
    async def script(peer: Peer) -> None:
        await peer.gone()

    async with serve(script) as server:
        exchange = await trusting.post(server.url.replace("http:", "https:"), {}, b"{}", 300)
    assert (exchange.status, exchange.error) == (None, "no complete answer within 300 ms")
    assert not trusting.pool.open


async def test_a_cancelled_exchange_leaves_no_connection(trusting: HttpTransport, authority: Authority) -> None:
    async with serve(hang, tls=authority.server("127.0.0.1")) as server:
        for _ in range(3):
            asked = asyncio.create_task(trusting.post(server.url, {}, b"{}", PATIENT_MS))
            before = len(server.requests)
            while len(server.requests) == before and not asked.done():
                await asyncio.sleep(0.01)
            assert not asked.done()
            asked.cancel()
            await asyncio.gather(asked, return_exceptions=True)
        while trusting.pool.open or server.left < 3:
            await asyncio.sleep(0.01)


def test_the_checks_are_the_same_on_every_python() -> None:
    context = client_context()
    assert context.verify_flags == ssl.VERIFY_X509_TRUSTED_FIRST | ssl.VERIFY_X509_PARTIAL_CHAIN
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2


async def test_the_authorities_of_ssl_cert_file_are_believed(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "authorities.pem").write_text(authority.pem())
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authorities.pem"))
    transport = HttpTransport(LOOPBACK)
    try:
        async with serve(answering(ok()), tls=authority.server("127.0.0.1")) as server:
            assert (await transport.post(server.url, {}, b"{}", PATIENT_MS)).status == 200
    finally:
        await transport.close()


VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.fixture(params=VERSIONS, ids=["TLS 1.2", "TLS 1.3"])
async def rude(request: pytest.FixtureRequest, authority: Authority) -> AsyncIterator[RudeServer]:
    context = authority.server("127.0.0.1")
    context.maximum_version = request.param
    async with rude_server(context) as server:
        yield server


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nthe end",
        b"HTTP/1.1 200 OK\r\n\r\nthe end",
        b"HTTP/1.0 200 OK\r\n\r\nthe end",
    ],
)
async def test_a_body_may_end_with_a_connection_that_takes_no_leave(
    trusting: HttpTransport, rude: RudeServer, answer: bytes
) -> None:
    """Many servers close without close_notify. Over plain HTTP nothing shows either that the body
    is complete."""
    rude.answer = answer
    exchange = await trusting.post(rude.url, {}, b"{}", PATIENT_MS)
    assert (exchange.status, exchange.body, exchange.error) == (200, b"the end", None)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nthe end", "the answer broke off"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\nthe end\r\n", "the answer broke off"),
        (b"HTTP/1.1 200 OK\r\nX-He", "the answer broke off"),
        (b"", "the connection was closed before an answer"),
    ],
)
async def test_an_answer_with_an_end_of_its_own_is_not_whole_without_it(
    trusting: HttpTransport, rude: RudeServer, answer: bytes, why: str
) -> None:
    rude.answer = answer
    exchange = await trusting.post(rude.url, {}, b"{}", PATIENT_MS)
    assert (exchange.status, (exchange.error or "")[: len(why)]) == (None, why)


async def test_a_body_without_a_length_is_not_whole_where_the_connection_is_reset(
    trusting: HttpTransport, rude: RudeServer
) -> None:
    rude.answer, rude.reset = b"HTTP/1.1 200 OK\r\n\r\nthe end", True
    exchange = await trusting.post(rude.url, {}, b"{}", PATIENT_MS)
    assert exchange.status is None
    # The RST may overtake the answer.
    assert (exchange.error or "").startswith(("the answer broke off", "the connection was closed before an answer"))
