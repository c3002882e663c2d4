"""Whose request it is: behind trusted proxies the client's address, scheme and host, which they tell in headers.

Headers of a peer that is not trusted count for nothing. Which networks are trusted: JOSSIEDB_TRUSTED_PROXIES.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TypeAlias

from aiohttp import web
from multidict import CIMultiDictProxy

from service.api.call import SETTINGS
from service.api.problems import Handler
from service.platform.settings import Network

Address: TypeAlias = IPv4Address | IPv6Address

# Of a longer chain only the nearest hops are looked at.
MAX_HOPS = 32
_WITH_PORT = re.compile(r"\[(?P<v6>[0-9A-Fa-f:.]+)\](?::[0-9]{1,5})?|(?P<v4>[0-9.]+):[0-9]{1,5}")
_HOST = re.compile(r"[A-Za-z0-9._-]{1,255}(?::[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](?::[0-9]{1,5})?")


@dataclass(frozen=True, slots=True)
class Client:
    """`scheme` and `host` are None where no proxy tells them."""

    address: str | None
    scheme: str | None = None
    host: str | None = None


def client_of(
    peer: str | None,
    headers: CIMultiDictProxy[str],
    forwarded: Sequence[Mapping[str, str]],
    trusted: Sequence[Network],
) -> Client:
    """`forwarded`: the elements of the Forwarded headers. The client is the rightmost hop that is not a trusted proxy."""
    address = parse_address(peer)
    if address is None or not is_in(address, trusted):
        return Client(peer)
    told = []
    if lines := headers.getall("X-Forwarded-For", []):
        told.append(_rightmost(address, ",".join(lines).split(","), trusted))
    if forwarded:
        told.append(_rightmost(address, [element.get("for", "") for element in forwarded], trusted))
    # A proxy that keeps one of the two hands on what a client wrote into the other: where they differ, neither is believed.
    found = told[0] if len(set(told)) == 1 else address
    last = forwarded[-1] if forwarded else {}
    scheme = _last(headers, "X-Forwarded-Proto") or last.get("proto", "")
    host = _last(headers, "X-Forwarded-Host") or last.get("host", "")
    return Client(
        str(found),
        scheme.lower() if scheme.lower() in {"http", "https"} else None,
        host if _HOST.fullmatch(host) else None,
    )


def parse_address(text: str | None) -> Address | None:
    """An address with or without a port; None for anything else. One of IPv4 within IPv6 is that of IPv4."""
    text = (text or "").strip()
    if match := _WITH_PORT.fullmatch(text):
        text = match["v6"] or match["v4"]
    if "%" in text:
        # A zone means something on one machine only, and may be any text.
        return None
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return (address.ipv4_mapped if isinstance(address, IPv6Address) else None) or address


def is_in(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)


def _rightmost(peer: Address, hops: Sequence[str], trusted: Sequence[Network]) -> Address:
    """The first from the right that is not trusted. What is no address is believed by nobody: then it is the hop that told it."""
    found = peer
    for hop in reversed(hops[-MAX_HOPS:]):
        address = parse_address(hop)
        if address is None:
            break
        found = address
        if not is_in(address, trusted):
            break
    return found


def _last(headers: CIMultiDictProxy[str], name: str) -> str:
    return ",".join(headers.getall(name, [])).rpartition(",")[2].strip()


@web.middleware
async def client_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """From here on `request.remote`, `scheme` and `host` are the client's."""
    trusted = request.app[SETTINGS].jossiedb_trusted_proxies
    peer = parse_address(request.remote)
    if peer is None or not is_in(peer, trusted):
        return await handler(request)
    client = client_of(request.remote, request.headers, request.forwarded, trusted)
    return await handler(
        request.clone(
            remote=client.address or request.remote or "",
            scheme=client.scheme or request.scheme,
            host=client.host or request.host,
        )
    )
