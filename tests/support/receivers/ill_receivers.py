"""Receivers that misbehave. Each is a function that gets the connection once a request has come."""

import asyncio
import gzip
import itertools
import ssl
import struct
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TypeAlias

Reader: TypeAlias = asyncio.StreamReader
Writer: TypeAlias = asyncio.StreamWriter
Misbehaviour = Callable[[Reader, Writer], Awaitable[None]]

_CHUNK = b"x" * 65536
_GIGABYTE = 1 << 30


async def hangs(reader: Reader, _: Writer) -> None:
    await reader.read()


async def resets(_: Reader, writer: Writer) -> None:
    sock = writer.get_extra_info("socket")
    # Without lingering, the close sends RST instead of FIN.
    sock.setsockopt(1, 13, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def answers_byte_by_byte(_: Reader, writer: Writer) -> None:
    while True:
        for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100000:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.1)


async def sends_endless_headers(_: Reader, writer: Writer) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    number = 0
    while True:
        number += 1
        writer.write(b"X-%d: y\r\n" % number)
        await writer.drain()


async def sends_one_endless_header(_: Reader, writer: Writer) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nX: ")
    while True:
        writer.write(_CHUNK)
        await writer.drain()


async def sends_an_endless_body(_: Reader, writer: Writer) -> None:
    writer.write(b"HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"10000\r\n" + _CHUNK + b"\r\n")
        await writer.drain()


async def sends_a_gigabyte(_: Reader, writer: Writer) -> None:
    writer.write(b"HTTP/1.1 500 No\r\nContent-Length: %d\r\n\r\n" % _GIGABYTE)
    for _number in range(_GIGABYTE // len(_CHUNK)):
        writer.write(_CHUNK)
        await writer.drain()


async def sends_a_gzip_bomb(_: Reader, writer: Writer) -> None:
    bomb = gzip.compress(bytes(32 << 20))
    writer.write(b"HTTP/1.1 500 No\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb) + bomb)
    await writer.drain()


def _says(answer: bytes) -> Misbehaviour:
    async def say(_: Reader, writer: Writer) -> None:
        writer.write(answer)
        await writer.drain()

    return say


def gone_and_well_in_turn() -> Misbehaviour:
    """Answers 410 and 200, some milliseconds later, so that several answers are recorded
    together."""
    statuses = itertools.cycle((b"200 OK", b"410 Gone", b"200 OK", b"200 OK"))

    async def say(_: Reader, writer: Writer) -> None:
        await asyncio.sleep(0.02)
        writer.write(b"HTTP/1.1 " + next(statuses) + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()

    return say


async def closes_after_half_an_answer(_: Reader, writer: Writer) -> None:
    writer.write(b"HTTP/1.1 500 No\r\nContent-Length: 100\r\n\r\nhalf")
    await writer.drain()
    writer.close()


MISBEHAVIOURS: Mapping[str, Misbehaviour] = {
    "hangs": hangs,
    "resets": resets,
    "answers byte by byte": answers_byte_by_byte,
    "sends endless headers": sends_endless_headers,
    "sends one endless header": sends_one_endless_header,
    "sends an endless body": sends_an_endless_body,
    "sends 1 GB": sends_a_gigabyte,
    "sends a gzip bomb": sends_a_gzip_bomb,
    "sends NULs": _says(b"HTTP/1.1 500 No\r\nX-Nul: a\x00b\r\nContent-Length: 4\r\n\r\na\x00\x00b"),
    "sends NULs in the body": _says(b"HTTP/1.1 500 No\r\nContent-Length: 4\r\n\r\na\x00\x00b"),
    "sends invalid UTF-8": _says(b"HTTP/1.1 500 No\r\nContent-Length: 4\r\n\r\n\xff\xfe\xc3\x28"),
    "sends latin-1 headers": _says(b"HTTP/1.1 500 Ung\xfcltig\r\nX-Name: M\xfcller\r\nContent-Length: 2\r\n\r\nno"),
    "sends malformed HTTP": _says(b"SPQR/9.9 abc def\r\nno colon here\r\n\r\n"),
    "sends two lengths": _says(b"HTTP/1.1 500 No\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nno!"),
    "sends a redirect": _says(b"HTTP/1.1 302 Found\r\nLocation: http://169.254.1.1/\r\nContent-Length: 0\r\n\r\n"),
    "closes in the midst of an answer": closes_after_half_an_answer,
}


async def _read_request(reader: Reader) -> bool:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        int(line.partition(b":")[2]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")
    )
    await reader.readexactly(length)
    return True


@asynccontextmanager
async def misbehaving(act: Misbehaviour, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """A receiver that misbehaves on each connection. Yields its URL."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: Reader, writer: Writer) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await _read_request(reader)
            await act(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            tasks.discard(task)
            with suppress(OSError):
                writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    scheme = "http" if tls is None else "https"
    try:
        yield f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def closing_kept_alive(worst: float) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A receiver that answers the first request of a connection with 200, and closes it `worst`
    seconds later without reading. Often the next request is then on its way. Yields its URL and the
    bodies that it has answered."""
    answered: list[bytes] = []

    async def serve(reader: Reader, writer: Writer) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                int(line.partition(b":")[2])
                for line in head.split(b"\r\n")
                if line.lower().startswith(b"content-length:")
            )
            answered.append(await reader.readexactly(length))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            await writer.drain()
            await asyncio.sleep(worst)
        writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", answered
    finally:
        server.close()


def wrong_certificate(directory: Path) -> ssl.SSLContext:
    """A server's context with a self-signed certificate for another name."""
    key, certificate = directory / "key.pem", directory / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=elsewhere.example", "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context
