"""The transport against a server that is scripted byte by byte."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_network

import pytest

from relay.transport import MAX_BODY_KEPT, AiohttpTransport, Exchange

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
LOOPBACK = [ip_network("127.0.0.0/8"), ip_network("::1/128")]
TIMEOUT_MS = 5000


@asynccontextmanager
async def server(script: Script) -> AsyncIterator[str]:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await script(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # The transport has seen enough and closed: what some of these tests are about.
        finally:
            writer.close()

    listening = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/hook"


async def request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    return head + await reader.readexactly(length)


@pytest.fixture
async def transport() -> AsyncIterator[AiohttpTransport]:
    transport = AiohttpTransport(LOOPBACK)
    yield transport
    await transport.close()


async def post(transport: AiohttpTransport, answer: bytes, timeout_ms: int = TIMEOUT_MS) -> Exchange:
    """One exchange with a server that reads the request, gives this answer and closes."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(answer)
        await writer.drain()

    async with server(script) as url:
        return await transport.post(url, {"Content-Type": "application/json"}, b"{}", timeout_ms)


def ok(body: bytes, *headers: bytes) -> bytes:
    lines = [b"HTTP/1.1 200 OK", b"Content-Length: %d" % len(body), b"Connection: close", *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


async def test_an_answer_is_kept_with_its_timings(transport: AiohttpTransport) -> None:
    exchange = await post(transport, ok(b"fine", b"X-Answer: 1"))
    assert (exchange.status, exchange.body, exchange.error) == (200, b"fine", None)
    assert exchange.headers is not None
    assert b"X-Answer: 1" in exchange.headers
    assert exchange.connect_us is not None
    assert exchange.first_byte_us is not None
    assert exchange.total_us >= exchange.first_byte_us > 0


async def test_only_the_start_of_a_large_body_is_kept(transport: AiohttpTransport) -> None:
    exchange = await post(transport, ok(b"x" * 1_000_000))
    assert exchange.status == 200
    assert exchange.body == b"x" * MAX_BODY_KEPT


async def test_a_compressed_body_is_not_unpacked(transport: AiohttpTransport) -> None:
    bomb = gzip.compress(b"\0" * 1_000_000)
    exchange = await post(transport, ok(bomb, b"Content-Encoding: gzip"))
    assert exchange.status == 200
    assert exchange.body == bomb[:MAX_BODY_KEPT]


async def test_odd_bytes_in_headers_and_body_are_kept_as_they_came(transport: AiohttpTransport) -> None:
    exchange = await post(transport, ok(b"\x00\xff\xfe", b"X-Name: \xe9t\xe9"))
    assert exchange.body == b"\x00\xff\xfe"
    assert exchange.headers is not None
    assert b"X-Name: \xe9t\xe9" in exchange.headers


async def test_a_redirect_is_not_followed_and_no_cookie_is_kept(transport: AiohttpTransport) -> None:
    seen: list[bytes] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            seen.append(await request(reader))
            writer.write(b"HTTP/1.1 302 Found\r\nLocation: /other\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()

    async with server(script) as url:
        for _ in range(2):
            assert (await transport.post(url, {}, b"{}", TIMEOUT_MS)).status == 302
    assert len(seen) == 2
    assert all(b"POST /hook" in text and b"cookie" not in text.lower() for text in seen)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", "closed before an answer"),
        (b"nonsense\r\n\r\n", "400"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", "broke off"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n", "400"),
    ],
)
async def test_what_is_no_answer_is_an_error_and_not_a_status(
    transport: AiohttpTransport, answer: bytes, error: str
) -> None:
    exchange = await post(transport, answer)
    assert exchange.status is None
    assert exchange.error is not None
    assert error in exchange.error


async def test_one_deadline_covers_an_answer_that_never_ends(transport: AiohttpTransport) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"1\r\nx\r\n")
            await writer.drain()
            await asyncio.sleep(0.05)

    async with server(script) as url:
        exchange = await transport.post(url, {}, b"{}", 300)
    assert (exchange.status, exchange.error) == (None, "no complete answer within 300 ms")


async def test_a_stale_connection_is_tried_once_more_on_a_new_one(transport: AiohttpTransport) -> None:
    requests = 0

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal requests
        await request(reader)
        requests += 1
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        # The worst moment: the next request is read, and the connection closed without a word.
        await request(reader)

    async with server(script) as url:
        assert (await transport.post(url, {}, b"{}", TIMEOUT_MS)).status == 200
        assert (await transport.post(url, {}, b"{}", TIMEOUT_MS)).status == 200
    assert requests == 2


async def test_a_connection_that_is_refused_and_a_host_that_is_unknown_are_errors(transport: AiohttpTransport) -> None:
    async with server(lambda reader, writer: asyncio.sleep(0)) as url:
        pass
    refused = await transport.post(url, {}, b"{}", TIMEOUT_MS)
    assert refused.error is not None
    assert refused.error.startswith("cannot connect")
    unknown = await transport.post("http://no-such-host.invalid/", {}, b"{}", TIMEOUT_MS)
    assert unknown.error is not None
    assert unknown.status is None


async def test_a_private_address_is_refused_whether_named_or_resolved() -> None:
    transport = AiohttpTransport([])
    try:
        for host in ("127.0.0.1", "localhost", "[::1]", "0.0.0.0"):
            exchange = await transport.post(f"http://{host}:1/", {}, b"{}", TIMEOUT_MS)
            assert exchange.status is None
            assert "private address" in (exchange.error or ""), host
    finally:
        await transport.close()
