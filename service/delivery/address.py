"""The rule that keeps webhooks away from addresses inside private networks."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address

# Addresses of NAT64 and 6to4, and mapped ones, are IPv6 addresses that hold an IPv4 address.
_NAT64 = IPv6Network("64:ff9b::/96")
# Networks that is_global takes for public in some version of Python that we support.
_ALSO_PRIVATE = (
    IPv4Network("192.0.0.0/24"),
    IPv4Network("192.88.99.0/24"),
    IPv4Network("100.64.0.0/10"),
    # Two forms of an IPv4 address inside an IPv6 one. No public host uses them any more.
    IPv6Network("::/96"),
    IPv6Network("::ffff:0:0:0/96"),
    IPv6Network("3fff::/20"),
    IPv6Network("5f00::/16"),
    IPv6Network("64:ff9b:1::/48"),
    IPv6Network("fec0::/10"),
)


class AddressRefused(OSError):
    """A webhook's host is an address that is neither public nor allowed, or resolves to one."""


def check_address(host: str, allowed: Sequence[IPv4Network | IPv6Network]) -> None:
    """Raises AddressRefused unless `host` is public or in one of the networks in `allowed`. `host`
    is an IP address. If an IPv6 address is not allowed and holds an IPv4 address, the IPv4 address
    decides."""
    address = ip_address(host.partition("%")[0])
    if any(address.version == network.version and address in network for network in allowed):
        return
    inner = embedded_ipv4(address)
    if inner is not None:
        check_address(str(inner), allowed)
        return
    if is_private(address):
        raise AddressRefused(f"{address} is a private address, and not in WEBHOOK_ALLOWED_NETWORKS")


def is_private(address: Address) -> bool:
    return (
        not address.is_global
        or address.is_multicast
        or any(address.version == network.version and address in network for network in _ALSO_PRIVATE)
    )


def embedded_ipv4(address: Address) -> IPv4Address | None:
    if isinstance(address, IPv4Address):
        return None
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return None
