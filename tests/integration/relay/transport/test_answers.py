"""Answers in every form that HTTP/1.1 allows, and the parts of them that are kept."""

import gzip

import pytest

from bench.aiohttp_transport import AiohttpTransport
from relay.transport import MAX_BODY_KEPT, HttpTransport
from tests.support.receivers.scripted_server import LOOPBACK, PATIENT_MS, Peer, answering, ok, post, serve


async def test_an_answer_is_kept_with_its_timings(transport: HttpTransport) -> None:
    exchange = await post(transport, ok(b"fine", b"X-Answer: 1"))
    assert (exchange.status, exchange.body, exchange.error) == (200, b"fine", None)
    assert exchange.headers == b"Content-Length: 4\r\nX-Answer: 1"
    assert exchange.dns_us is None
    assert exchange.connect_us is not None
    assert exchange.tls_us is None
    assert exchange.first_byte_us is not None
    assert exchange.total_us >= exchange.first_byte_us > 0


async def test_the_request_is_sent_as_given(transport: HttpTransport) -> None:
    async with serve(answering(ok())) as server:
        headers = {"Content-Type": "application/json", "X-Name": "Zoë"}
        await transport.post(server.url + "/%20x?a=1&b=%2F", headers, b'{"a":1}', PATIENT_MS)
    host = server.url.removeprefix("http://").removesuffix("/hook")
    assert server.requests == [
        f"POST /hook/%20x?a=1&b=%2F HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        'X-Name: Zoë\r\nContent-Length: 7\r\n\r\n{"a":1}'.encode("latin-1")
    ]


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1;x=y\r\nc\r\n0\r\nT: 1\r\n\r\n",
            200,
            b"abc",
        ),
        (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", 200, b"until the end"),
        (b"HTTP/1.0 200 OK\r\n\r\nold", 200, b"old"),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nold", 200, b"old"),
        (b"HTTP/1.1 200\r\nContent-Length: 1\r\n\r\nx", 200, b"x"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 304, b""),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + ok(b"x"), 200, b"x"),
        (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n" + ok(b"x"), 200, b"x"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n\x00\x01", 101, b""),
        (b"HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n", 503, b""),
        (ok(b"ok") + b"more than was announced", 200, b"ok"),
        (ok(b"ok") + b"HTTP/1.1 500 Second\r\nContent-Length: 1\r\n\r\nx", 200, b"ok"),
    ],
)
async def test_an_answer_of_any_valid_form(transport: HttpTransport, answer: bytes, status: int, body: bytes) -> None:
    exchange = await post(transport, answer)
    assert (exchange.error, exchange.status, exchange.body) == (None, status, body)


async def test_headers_of_interim_answers_and_trailers_are_not_the_answers(transport: HttpTransport) -> None:
    head = (
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A: 1\r\n\r\n"
    )
    exchange = await post(transport, head + b"0\r\nX-Trailer: 1\r\n\r\n")
    assert exchange.headers == b"Transfer-Encoding: chunked\r\nX-A: 1"


async def test_an_answer_byte_by_byte(transport: HttpTransport) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        for byte in ok(b"slowly", b"X-A: 1"):
            await peer.send(bytes([byte]))

    exchange = await post(transport, script)
    assert (exchange.status, exchange.body) == (200, b"slowly")
    assert exchange.headers == b"Content-Length: 6\r\nX-A: 1"


async def test_only_the_start_of_a_large_body_is_kept(transport: HttpTransport) -> None:
    exchange = await post(transport, ok(b"x" * 1_000_000))
    assert (exchange.status, exchange.error) == (200, None)
    assert exchange.body == b"x" * MAX_BODY_KEPT


async def test_a_body_of_exactly_what_is_kept_leaves_the_connection_usable(transport: HttpTransport) -> None:
    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(ok(b"x" * MAX_BODY_KEPT))

    async with serve(script) as server:
        for _ in range(2):
            exchange = await transport.post(server.url, {}, b"{}", PATIENT_MS)
            assert exchange.body == b"x" * MAX_BODY_KEPT
    assert server.connections == 1


async def test_a_compressed_body_is_not_unpacked(transport: HttpTransport) -> None:
    bomb = gzip.compress(b"\0" * 10_000_000)
    exchange = await post(transport, ok(bomb, b"Content-Encoding: gzip"))
    assert exchange.status == 200
    assert exchange.body == bomb[:MAX_BODY_KEPT]


async def test_odd_bytes_in_headers_and_body_are_kept_as_they_came(transport: HttpTransport) -> None:
    exchange = await post(transport, ok(b"\x00\xff\xfe", b"X-Latin: \xe9t\xe9", b"X-Cut: \xc3"))
    assert exchange.body == b"\x00\xff\xfe"
    assert exchange.headers == b"Content-Length: 3\r\nX-Latin: \xe9t\xe9\r\nX-Cut: \xc3"


async def test_a_redirect_is_not_followed_and_no_cookie_is_kept(transport: HttpTransport) -> None:
    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(b"HTTP/1.1 302 Found\r\nLocation: /other\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n")

    async with serve(script) as server:
        for _ in range(2):
            assert (await transport.post(server.url, {}, b"{}", PATIENT_MS)).status == 302
    assert len(server.requests) == 2
    assert all(b"POST /hook" in text and b"cookie" not in text.lower() for text in server.requests)


async def test_an_answer_before_the_request_was_read_counts(transport: HttpTransport) -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
        await peer.gone()

    async with serve(script) as server:
        for _ in range(2):
            exchange = await transport.post(server.url, {}, b"x" * 20_000_000, PATIENT_MS)
            assert (exchange.status, exchange.body) == (413, b"big")
    # On the first connection, the rest of the first request would have come before the second.
    assert server.connections == 2


async def test_an_answer_that_waits_for_no_request_counts(transport: HttpTransport) -> None:
    async def script(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 503 Overloaded\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await peer.gone()

    assert (await post(transport, script)).status == 503


async def test_the_benchmarks_reference_sends_and_keeps_the_same(transport: HttpTransport) -> None:
    reference = AiohttpTransport(LOOPBACK)
    try:
        async with serve(answering(ok(b"x" * 10_000, b"X-A: 1"))) as server:
            headers = {"Content-Type": "application/json", "X-B": "2"}
            own, other = [
                await sender.post(server.url, headers, b"{}", PATIENT_MS) for sender in (transport, reference)
            ]
    finally:
        await reference.close()
    assert (own.status, own.headers, own.body) == (other.status, other.headers, other.body)
    first, second = [sorted(request.split(b"\r\n")) for request in server.requests]
    assert first == second
