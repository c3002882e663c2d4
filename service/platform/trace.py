"""Parses and makes the `traceparent` header of W3C Trace Context."""

import re
import secrets

_HEADER = re.compile(
    r"(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<parent>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})(?P<more>-.*)?"
)
_NO_TRACE, _NO_PARENT = "0" * 32, "0" * 16


def parse(header: str | None) -> str | None:
    """The header in the form of version 00, even if it has a later version. None if the header is
    absent or not valid: the standard says to ignore an invalid one."""
    found = _HEADER.fullmatch(header.strip(" \t")) if header is not None else None
    if (
        found is None
        or found["version"] == "ff"
        or (found["version"] == "00" and found["more"])
        or found["trace"] == _NO_TRACE
        or found["parent"] == _NO_PARENT
    ):
        return None
    return f"00-{found['trace']}-{found['parent']}-{found['flags']}"


def child(header: str | None) -> str | None:
    """A header with the same trace and a new parent id, for a request that is made on behalf of
    another. None if `parse` returns None."""
    parsed = parse(header)
    if parsed is None:
        return None
    version, trace, _, flags = parsed.split("-")
    # One bit is always set, because a parent id of only zeros is not valid.
    parent = secrets.randbits(64) | 1
    return f"{version}-{trace}-{parent:016x}-{flags}"
