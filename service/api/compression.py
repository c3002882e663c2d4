"""Decides which answers are compressed, and how: with gzip or deflate, if the client asks for it.

Only answers to GET and HEAD are compressed, because they never hold a secret. A secret must not be
compressed together with text that somebody else can choose: the compressed length would reveal it.
"""

from aiohttp import web

# A shorter answer hardly becomes smaller by compression.
MIN_BYTES = 1024
# To compress this many bytes takes a fraction of a millisecond. A larger answer is compressed in a
# thread.
IN_LOOP_BYTES = 8 * 1024
_PREFERRED = (web.ContentCoding.gzip, web.ContentCoding.deflate)


def may_compress(request: web.Request, body: bytes) -> bool:
    return request.method in {"GET", "HEAD"} and len(body) >= MIN_BYTES


def coding_for(request: web.Request) -> web.ContentCoding | None:
    """The coding that the client prefers, or gzip if it prefers neither (RFC 9110, section 12.5.3).
    None if it accepts neither."""
    wanted = _weights(",".join(request.headers.getall("Accept-Encoding", [])))
    best = max(_PREFERRED, key=lambda coding: wanted.get(coding.value, wanted.get("*", 0.0)))
    return best if wanted.get(best.value, wanted.get("*", 0.0)) > 0 else None


def _weights(header: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for member in header.lower().split(","):
        name, _, parameter = member.partition(";")
        weight = parameter.strip()
        try:
            found[name.strip()] = float(weight.removeprefix("q=")) if weight else 1.0
        except ValueError:
            found[name.strip()] = 0.0
    return found
