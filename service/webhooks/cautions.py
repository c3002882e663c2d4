"""The warnings that an owner gets when a webhook is saved. The functions are pure. They resolve no
name and open no connection."""

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address
from urllib.parse import urlsplit

from service.delivery.address import AddressRefused, check_address

Networks = Sequence[IPv4Network | IPv6Network]

# By RFC 6761 this name and all names below it lead to the machine itself.
_LOOPBACK = "localhost"
_LOOPBACK_ADDRESSES = ("127.0.0.1", "::1")
# Domains that no public name server answers for, by RFC 6762 and its appendix G, RFC 8375 and
# ICANN's reservation of .internal.
_PRIVATE = ("local", "internal", "intranet", "private", "corp", "home", "lan", "home.arpa", "localdomain")


def private_receiver(url: str, allowed: Networks) -> str | None:
    """Why a relay will refuse to send to this URL, or None if the host in it is no reason.
    `allowed` is WEBHOOK_ALLOWED_NETWORKS."""
    host = urlsplit(url).hostname or ""
    try:
        ip_address(host)
    except ValueError:
        return _private_name(host.rstrip("."), allowed)
    try:
        check_address(host, allowed)
    except AddressRefused as error:
        return f"{error}; nothing is sent there until the operator lists its network"
    return None


def _private_name(name: str, allowed: Networks) -> str | None:
    if _within(name, _LOOPBACK):
        if any(_is_allowed(address, allowed) for address in _LOOPBACK_ADDRESSES):
            return None
        leads = "leads to the machine that sends"
    elif allowed:
        # The name may resolve to an address in one of these networks.
        return None
    elif any(_within(name, domain) for domain in _PRIVATE):
        leads = "is a name for private networks"
    elif "." not in name:
        leads = "has no domain, as names in private networks do"
    else:
        return None
    return f"{name} {leads}; nothing is sent to a private address until the operator lists its network in WEBHOOK_ALLOWED_NETWORKS"


def _within(name: str, domain: str) -> bool:
    return name == domain or name.endswith(f".{domain}")


def _is_allowed(address: str, allowed: Networks) -> bool:
    try:
        check_address(address, allowed)
    except AddressRefused:
        return False
    return True
