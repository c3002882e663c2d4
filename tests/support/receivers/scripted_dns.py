"""A DNS server on 127.0.0.1 that does as it is told, name by name: answers, hangs, fails, or says something else each time."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import cast

A, AAAA = 1, 28
NXDOMAIN, SERVFAIL = 3, 2
# Addresses, an error code, or None for no answer at all; asked anew for each query.
Script = Callable[[], list[str] | int | None]


class ScriptedDns(asyncio.DatagramProtocol):
    def __init__(self, scripts: dict[str, Script]) -> None:
        self.scripts = scripts
        self.port = 0
        self.asked = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:

        self._transport = cast("asyncio.DatagramTransport", transport)
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        name, kind, end = _question(data)
        self.asked += 1
        script = self.scripts.get(name)
        said = NXDOMAIN if script is None else script()
        if said is None:
            return
        code, addresses = (said, []) if isinstance(said, int) else (0, said if kind == A else [])
        head = data[:2] + bytes([0x81, 0x80 | code]) + b"\x00\x01" + len(addresses).to_bytes(2, "big") + bytes(4)
        answers = b"".join(
            b"\xc0\x0c\x00\x01\x00\x01" + bytes(4) + b"\x00\x04" + socket.inet_aton(address) for address in addresses
        )
        self._transport.sendto(head + data[12:end] + answers, addr)


def _question(data: bytes) -> tuple[str, int, int]:
    labels, at = [], 12
    while length := data[at]:
        labels.append(data[at + 1 : at + 1 + length].decode("ascii"))
        at += 1 + length
    return ".".join(labels).lower(), int.from_bytes(data[at + 1 : at + 3], "big"), at + 5


@asynccontextmanager
async def scripted_dns(scripts: dict[str, Script]) -> AsyncIterator[ScriptedDns]:
    transport, server = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: ScriptedDns(scripts), local_addr=("127.0.0.1", 0)
    )
    try:
        yield server
    finally:
        transport.close()
