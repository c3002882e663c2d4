"""Finds a client's address, scheme and host, if the request comes through trusted proxies.

A trusted proxy reports them in headers. The headers of any other peer are ignored. The setting
JOSSIEDB_TRUSTED_PROXIES names the networks that are trusted.
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

# If a chain of proxies is longer, only the nearest hops are looked at.
MAX_HOPS = 32
_WITH_PORT = re.compile(r"\[(?P<v6>[0-9A-Fa-f:.]+)\](?::[0-9]{1,5})?|(?P<v4>[0-9.]+):[0-9]{1,5}")
_HOST = re.compile(r"[A-Za-z0-9._-]{1,255}(?::[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](?::[0-9]{1,5})?")


@dataclass(frozen=True, slots=True)
class Client:
    """The client of a request. `scheme` and `host` are None if no trusted proxy reports valid
    ones."""

    address: str | None
    scheme: str | None = None
    host: str | None = None


def client_of(
    peer: str | None,
    headers: CIMultiDictProxy[str],
    forwarded: Sequence[Mapping[str, str]],
    trusted: Sequence[Network],
) -> Client:
    """The client is the rightmost hop that is not a trusted proxy.

    `forwarded` has the elements of the Forwarded headers.
    """
    address = parse_address(peer)
    if address is None or not is_in(address, trusted):
        return Client(peer)
    reported = []
    if lines := headers.getall("X-Forwarded-For", []):
        reported.append(_rightmost(address, ",".join(lines).split(","), trusted))
    if forwarded:
        reported.append(_rightmost(address, [element.get("for", "") for element in forwarded], trusted))
    # A proxy may maintain only one of the two headers, and pass on the other as the client wrote
    # it. If they differ, neither is believed.
    found = reported[0] if len(set(reported)) == 1 else address
    last = forwarded[-1] if forwarded else {}
    scheme = _last(headers, "X-Forwarded-Proto") or last.get("proto", "")
    host = _last(headers, "X-Forwarded-Host") or last.get("host", "")
    return Client(
        str(found),
        scheme.lower() if scheme.lower() in {"http", "https"} else None,
        host if _HOST.fullmatch(host) else None,
    )


def parse_address(text: str | None) -> Address | None:
    """Parses an address, with or without a port. Returns None for anything else. An IPv4 address
    that is mapped into IPv6 is returned as IPv4."""
    text = (text or "").strip()
    if match := _WITH_PORT.fullmatch(text):
        text = match["v6"] or match["v4"]
    if "%" in text:
        # A zone has a meaning on one machine only, and it may be any text.
        return None
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return (address.ipv4_mapped if isinstance(address, IPv6Address) else None) or address


def is_in(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)


def _rightmost(peer: Address, hops: Sequence[str], trusted: Sequence[Network]) -> Address:
    """The first hop from the right that is not trusted. If a hop is no valid address, the result is
    the hop that reported it."""
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
    """Replaces the request's `remote`, `scheme` and `host` by those of the client."""
    trusted = request.app[SETTINGS].jossiedb_trusted_proxies
    if not trusted:
        return await handler(request)
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
