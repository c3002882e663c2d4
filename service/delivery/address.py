"""Which addresses a webhook may lead to."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address

# NAT64 and 6to4 carry an IPv4 address inside an IPv6 one; so do mapped addresses.
_NAT64 = IPv6Network("64:ff9b::/96")
# Not covered by is_global in every supported version of Python.
_ALSO_PRIVATE = (
    IPv4Network("192.0.0.0/24"),
    IPv4Network("192.88.99.0/24"),
    IPv4Network("100.64.0.0/10"),
    # IPv4 addresses in IPv6 ones, in two forms that nothing public has any more.
    IPv6Network("::/96"),
    IPv6Network("::ffff:0:0:0/96"),
    IPv6Network("3fff::/20"),
    IPv6Network("5f00::/16"),
    IPv6Network("64:ff9b:1::/48"),
    IPv6Network("fec0::/10"),
)


class AddressRefused(OSError):
    """A webhook's host is, or leads to, an address inside our own networks."""


def check_address(host: str, allowed: Sequence[IPv4Network | IPv6Network]) -> None:
    """Raises AddressRefused unless `host`, an IP address, is public or inside one of the allowed networks."""
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
