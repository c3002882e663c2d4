"""Receivers that hang, break off, send nonsense or never stop. Each exchange ends with one error in
one line, or with the status that came."""

import asyncio
from itertools import count

import pytest

from relay.transport import MAX_BODY_KEPT, Exchange, HttpTransport
from tests.support.receivers.scripted_server import PATIENT_MS, SHORT_MS, Peer, Script, hang, ok, post, serve, then_hang

LATE = f"no complete answer within {SHORT_MS} ms"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def for_ever(start: bytes, again: bytes) -> Script:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(start)
        while True:
            await peer.send(again)

    return script


@pytest.mark.parametrize(
    "script",
    [
        hang,
        then_hang(b"HTTP/1.1 200 O"),
        then_hang(b"HTTP/1.1 200 OK\r\nX-A: 1\r\nX-B"),
        then_hang(b"HTTP/1.1 100 Continue\r\n\r\n"),
        then_hang(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"),
        then_hang(b"HTTP/1.1 200 OK\r\n\r\nabc"),
        then_hang(CHUNKED + b"3\r\nabc\r\n"),
    ],
)
async def test_one_deadline_covers_an_answer_that_stops(transport: HttpTransport, script: Script) -> None:
    async with serve(script) as server:
        exchange = await transport.post(server.url, {}, b"{}", SHORT_MS)
    assert (exchange.status, exchange.headers, exchange.body, exchange.error) == (None, None, None, LATE)


async def test_one_deadline_covers_an_answer_that_goes_on_slowly(transport: HttpTransport) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED)
        while True:
            await peer.send(b"1\r\nx\r\n")
            await asyncio.sleep(0.02)

    exchange = await post(transport, script, SHORT_MS)
    assert (exchange.status, exchange.error) == (None, LATE)


async def test_one_deadline_covers_a_request_that_is_not_read(transport: HttpTransport) -> None:
    async def script(peer: Peer) -> None:
        await asyncio.Event().wait()

    async with serve(script) as server:
        exchange = await transport.post(server.url, {}, b"x" * 20_000_000, SHORT_MS)
    assert (exchange.status, exchange.error) == (None, LATE)


@pytest.mark.parametrize(
    "script",
    [
        for_ever(b"HTTP/1.1 200 OK\r\n", b"X-More: " + b"y" * 1000 + b"\r\n"),
        for_ever(b"HTTP/1.1 200 OK\r\nX-Long: ", b"y" * 1000),
        for_ever(b"HTTP/1.1 200 ", b"y" * 1000),
        for_ever(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        for_ever(b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"),
    ],
    ids=["headers", "one header", "status line", "100", "103"],
)
async def test_a_head_that_never_ends_is_ended(transport: HttpTransport, script: Script) -> None:
    exchange = await post(transport, script)
    assert (exchange.status, exchange.error) == (None, "the answer has too many header bytes, more than 16384")


@pytest.mark.parametrize(
    ("script", "kept"),
    [
        (for_ever(CHUNKED, b"3e8\r\n" + b"y" * 1000 + b"\r\n"), b"y" * MAX_BODY_KEPT),
        (for_ever(b"HTTP/1.1 200 OK\r\n\r\n", b"y" * 1000), b"y" * MAX_BODY_KEPT),
        # Framing, of which nothing is kept.
        (for_ever(CHUNKED + b"1;x=", b"y" * 1000), b""),
        (for_ever(CHUNKED + b"1\r\nz\r\n0\r\nX-Trailer: ", b"y" * 1000), b"z"),
        (for_ever(CHUNKED + b"0\r\n", b"X-Trailer: " + b"y" * 1000 + b"\r\n"), b""),
    ],
    ids=["chunked", "until closed", "chunk extension", "one trailer", "trailers"],
)
async def test_a_body_that_never_ends_is_ended_and_the_status_counts(
    transport: HttpTransport, script: Script, kept: bytes
) -> None:
    exchange = await post(transport, script)
    assert (exchange.status, exchange.body, exchange.error) == (200, kept, None)


async def test_of_a_gigabyte_little_is_read(transport: HttpTransport) -> None:
    sent = 0

    async def script(peer: Peer) -> None:
        nonlocal sent
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n")
        for sent in count(step=65536):
            if sent >= 1 << 30:
                return
            await peer.send(b"x" * 65536)

    async with serve(script) as server:
        exchange = await transport.post(server.url, {}, b"{}", PATIENT_MS)
    assert (exchange.status, exchange.body) == (200, b"x" * MAX_BODY_KEPT)
    # The kernel buffers some bytes on both sides, and the server some more.
    assert sent < 1 << 26


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", "the connection was closed before an answer"),
        (b"HTTP/1.1 200 OK\r\nX-A: 1\r\n", "the answer broke off"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", "the answer broke off"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", "the answer broke off"),
        (CHUNKED + b"3\r\nabc\r\n", "the answer broke off"),
        (CHUNKED + b"3\r\nabc\r\n0\r\n", "the answer broke off"),
        (b"nonsense\r\n\r\n", "the answer is not valid HTTP: "),
        (b"\x00\x00\x00\x00\r\n\r\n", "the answer is not valid HTTP: "),
        (b"HTTP/1.1 2OO OK\r\n\r\n", "the answer is not valid HTTP: "),
        (b"HTTP/1.1 000 OK\r\nContent-Length: 0\r\n\r\n", "the answer is not valid HTTP: status 0"),
        (b"HTTP/2 200\r\n\r\n", "the answer is not valid HTTP: "),
        (b"HTTP/1.1 200 OK\r\nX A: 1\r\n\r\n", "the answer is not valid HTTP: "),
        (b"HTTP/1.1 200 OK\r\nX-A: a\x00b\r\n\r\n", "the answer is not valid HTTP: "),
        (b"HTTP/1.1 200 OK\r\nX-\xc3\xa9: a\r\n\r\n", "the answer is not valid HTTP: "),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "the answer is not valid HTTP: "),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n", "the answer is not valid HTTP: "),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", "the answer is not valid HTTP: "),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
            "the answer is not valid HTTP: ",
        ),
        (CHUNKED + b"xyz\r\n", "the answer is not valid HTTP: "),
        (CHUNKED + b"-1\r\n\r\n", "the answer is not valid HTTP: "),
        (CHUNKED + b"ffffffffffffffffff\r\n", "the answer is not valid HTTP: "),
        (CHUNKED + b"1\r\nabc\r\n", "the answer is not valid HTTP: "),
    ],
)
async def test_what_is_no_answer_is_an_error_and_not_a_status(
    transport: HttpTransport, answer: bytes, error: str
) -> None:
    exchange = await post(transport, answer)
    assert (exchange.status, exchange.headers, exchange.body) == (None, None, None)
    assert exchange.error is not None
    assert exchange.error.startswith(error)
    assert exchange.error.isprintable()
    assert not transport.pool.idle


@pytest.mark.parametrize(
    ("answer", "error"),
    [(b"", "the connection was closed before an answer"), (b"HTTP/1.1 200 OK\r\n", "the answer broke off")],
)
async def test_a_reset_is_an_error(transport: HttpTransport, answer: bytes, error: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer)
        peer.reset()

    exchange = await post(transport, script)
    assert exchange.status is None
    assert (exchange.error or "").startswith(error)


async def test_a_reset_ends_a_body_without_length_as_broken_off(transport: HttpTransport) -> None:
    arrived = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\nabc")
        # Bytes that are not read when a reset arrives may be lost with it.
        await arrived.wait()
        peer.reset()

    async with serve(script) as server:
        asked = asyncio.create_task(transport.post(server.url, {}, b"{}", PATIENT_MS))
        while not any(connection._received for connection in transport.pool.open):
            await asyncio.sleep(0.01)
        arrived.set()
        exchange = await asked
    assert exchange.status is None
    assert (exchange.error or "").startswith("the answer broke off")


@pytest.mark.parametrize("value", ["a\r\nX-B: 1", "a\nb", "a\rb", "a\0b", "\ud800"])
async def test_headers_that_would_break_the_request_are_not_sent(transport: HttpTransport, value: str) -> None:
    exchange = await transport.post("http://127.0.0.1:1/", {"X-A": value}, b"{}", PATIENT_MS)
    assert exchange.status is None
    assert exchange.error is not None
    assert exchange.connect_us is None


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "http:///x", "http://127.0.0.1:99999/", "", "http://[::1/"])
async def test_a_url_that_is_none_is_an_error(transport: HttpTransport, url: str) -> None:
    exchange = await transport.post(url, {}, b"{}", PATIENT_MS)
    assert exchange.status is None
    assert exchange.error


async def test_hundreds_of_receivers_that_fail_do_not_disturb_those_that_answer(transport: HttpTransport) -> None:
    async def script(peer: Peer) -> None:
        request = await peer.request()
        number = int(request.partition(b"X-Number: ")[2].partition(b"\r\n")[0])
        if number % 3 == 1:
            await peer.gone()
        elif number % 3 == 2:
            peer.reset()
        else:
            await peer.send(ok(b"%d" % number, b"Connection: close"))

    async def ask(number: int) -> Exchange:
        timeout_ms = SHORT_MS if number % 3 == 1 else PATIENT_MS
        return await transport.post(server.url, {"X-Number": str(number)}, b"{}", timeout_ms)

    async with serve(script) as server:
        exchanges = await asyncio.gather(*(ask(number) for number in range(300)))
    for number, exchange in enumerate(exchanges):
        if number % 3 == 0:
            assert (exchange.status, exchange.body) == (200, b"%d" % number)
        else:
            assert exchange.status is None
            assert exchange.error
