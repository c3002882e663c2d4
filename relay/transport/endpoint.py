"""A webhook's URL taken apart once, and the bytes of a request to it."""

from dataclasses import dataclass
from typing import NamedTuple

from yarl import URL


class Origin(NamedTuple):
    """What a connection leads to."""

    scheme: str
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`start`: the lines of a request that are the same each time."""

    origin: Origin
    start: str

    def request(self, headers: dict[str, str], body: bytes) -> bytes:
        """Head and body in one piece, for one write. Headers are Latin-1, as Node sends them. Raises ValueError for those
        that are not, or would break the message up."""
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        if lines.count("\n") != len(headers) or lines.count("\r") != len(headers) or "\0" in lines:
            raise ValueError("a header of the request holds a control character")
        return f"{self.start}{lines}Content-Length: {len(body)}\r\n\r\n".encode("latin-1") + body


def parse(text: str) -> Endpoint:
    """Raises ValueError."""
    # As it stands, where it can stand in a request: to quote anew what is quoted may change what it means.
    url = URL(text, encoded=text.isascii() and text.isprintable() and " " not in text)
    if url.scheme not in {"http", "https"} or not url.raw_host or url.port is None:
        raise ValueError("the URL is not one of http or https with a host")
    return Endpoint(
        Origin(url.scheme, url.raw_host.lower(), url.port),
        f"POST {url.raw_path_qs or '/'} HTTP/1.1\r\nHost: {url.host_port_subcomponent}\r\n",
    )
