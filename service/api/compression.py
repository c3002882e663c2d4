"""Which answers are compressed, and how: gzip or deflate, where the client asks for it.

Only what is read: no answer to a GET holds a secret, and a secret beside what somebody else can choose must not be compressed.
"""

from aiohttp import web

# Below that a compressed answer is hardly smaller.
MIN_BYTES = 1024
# What is larger is compressed in a thread; this takes a fraction of a millisecond.
IN_LOOP_BYTES = 8 * 1024
_PREFERRED = (web.ContentCoding.gzip, web.ContentCoding.deflate)


def may_compress(request: web.Request, body: bytes) -> bool:
    return request.method in {"GET", "HEAD"} and len(body) >= MIN_BYTES


def coding_for(request: web.Request) -> web.ContentCoding | None:
    """The one that the client prefers; gzip of two that it likes the same. RFC 9110, section 12.5.3."""
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
