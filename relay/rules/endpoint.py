"""A webhook's URL, parsed once, and the bytes of a request to it."""

import re
from typing import NamedTuple

from yarl import URL

_PORTS = {"http": 80, "https": 443}
MAX_PORT = 65535
# Nearly all URLs match this. For them, the parts are the same as yarl's, which takes several times
# as long. One event may go to ten thousand webhooks, each with a URL of its own.
_PLAIN = re.compile(
    r"(https?)://([a-z0-9._-]*[a-z0-9_-])(?::([0-9]{1,5}))?((?:/[!-\"$->@-~]*)?(?:\?[!-\"$-~]+)?)", re.ASCII
)


class Origin(NamedTuple):
    """The server that a connection leads to."""

    scheme: str
    host: str
    port: int


class Endpoint(NamedTuple):
    """`start`: the lines of a request that are the same each time."""

    origin: Origin
    start: str

    def request(self, headers: dict[str, str], body: bytes) -> bytes:
        """Head and body in one piece, for one write. Headers are Latin-1, as Node sends them.
        Raises ValueError for headers that are not Latin-1, or that would break the message up."""
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        if lines.count("\n") != len(headers) or lines.count("\r") != len(headers) or "\0" in lines:
            raise ValueError("a header of the request holds a control character")
        return f"{self.start}{lines}Content-Length: {len(body)}\r\n\r\n".encode("latin-1") + body


def parse(text: str) -> Endpoint:
    """Raises ValueError."""
    plain = _PLAIN.fullmatch(text)
    if plain is None:
        return _parse_any(text)
    scheme, host, port, target = plain.groups()
    number = _PORTS[scheme] if port is None else int(port)
    if number > MAX_PORT:
        return _parse_any(text)
    return _endpoint(scheme, host, number, host if number == _PORTS[scheme] else f"{host}:{number}", target)


def _parse_any(text: str) -> Endpoint:
    # A URL that a request can hold as it stands is not quoted again, which might change its
    # meaning.
    try:
        url = URL(text, encoded=text.isascii() and text.isprintable() and " " not in text)
        port = url.port
    except (IndexError, ValueError):
        # yarl's message may repeat a part of the URL, and admins see the reasons of failures.
        raise ValueError("the URL is not one") from None
    if url.scheme not in _PORTS or not url.raw_host or port is None:
        raise ValueError("the URL is not one of http or https with a host")
    return _endpoint(url.scheme, url.raw_host.lower(), port, url.host_port_subcomponent or "", url.raw_path_qs)


def _endpoint(scheme: str, host: str, port: int, named: str, target: str) -> Endpoint:
    """`named`: the host and port, as the header Host has them."""
    target = target if target.startswith("/") else f"/{target}"
    return Endpoint(Origin(scheme, host, port), f"POST {target} HTTP/1.1\r\nHost: {named}\r\n")
