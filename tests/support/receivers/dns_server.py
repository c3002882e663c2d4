"""A DNS server on 127.0.0.1 that answers as the test says, by name."""

import asyncio
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

A, AAAA = 1, 28
NXDOMAIN, SERVFAIL = 3, 2
# Addresses, the code of a failure, or None for no answer.
Found = list[str] | int | None
# Called for each question, so that an answer may differ from the one before it.
Script = Callable[[], Found]


@dataclass
class Names:
    """`known`: what is found under a name. Questions about `silent` names are never answered. No
    other name exists."""

    known: dict[str, list[str] | int | Script] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)
    ttl: int = 60
    # Names whose A is answered, and whose AAAA is not.
    silent_about_ipv6: set[str] = field(default_factory=set)
    # The number of questions for A, by name. Each comes with one for AAAA.
    asked: Counter[str] = field(default_factory=Counter)
    address: str = ""

    def answer(self, query: bytes) -> bytes | None:
        number = query[:2]
        labels, at = [], 12
        while size := query[at]:
            labels.append(query[at + 1 : at + 1 + size].decode())
            at += 1 + size
        name = ".".join(labels).lower()
        (kind,) = struct.unpack_from("!H", query, at + 1)
        question = query[12 : at + 5]
        self.asked[name] += kind == A
        if name in self.silent or (kind == AAAA and name in self.silent_about_ipv6):
            return None
        known = self.known.get(name, NXDOMAIN)
        found = known() if callable(known) else known
        if found is None:
            return None
        if isinstance(found, int):
            return number + struct.pack("!HHHHH", 0x8180 | found, 1, 0, 0, 0) + question
        records = [
            socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
            for address in found
            if (":" in address) == (kind == AAAA)
        ]
        return (
            number
            + struct.pack("!HHHHH", 0x8180, 1, len(records), 0, 0)
            + question
            + b"".join(struct.pack("!HHHIH", 0xC00C, kind, 1, self.ttl, len(packed)) + packed for packed in records)
        )


class _Protocol(asyncio.DatagramProtocol):
    def __init__(self, names: Names) -> None:
        self._names = names
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]  # it is one
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if self._transport is not None and (answer := self._names.answer(data)) is not None:
            self._transport.sendto(answer, addr)


@asynccontextmanager
async def names(known: Mapping[str, list[str] | int | Script] | None = None, *, ttl: int = 60) -> AsyncIterator[Names]:
    served = Names(dict(known or {}), ttl=ttl)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: _Protocol(served), local_addr=("127.0.0.1", 0))
    try:
        host, port = transport.get_extra_info("sockname")[:2]
        served.address = f"{host}:{port}"
        yield served
    finally:
        transport.close()
