"""Sends an answer piece by piece, so that neither the process nor the database holds all of it."""

from collections.abc import AsyncIterator

from aiohttp import web

from service.api.call import REQUEST_ID, Reply
from service.platform.logs import get_logger

_log = get_logger(__name__)


async def stream(request: web.Request, reply: Reply, media_type: str) -> web.StreamResponse:
    """Sends the reply. Its `body` is an async iterator of bytes.

    The first piece is made before the head is sent. So if the handler refuses the request, the
    client gets an ordinary problem. An error after that cannot be reported: the connection is
    closed before the end of the answer, which every client of HTTP/1.1 notices.
    """
    pieces: AsyncIterator[bytes] = reply.body
    first = await anext(pieces, b"")
    # The middleware that sets X-Request-ID on other answers runs after the head was sent.
    headers = {**reply.headers, "X-Request-ID": request[REQUEST_ID]}
    response = web.StreamResponse(status=reply.status, headers=headers)
    response.content_type, response.charset = media_type, "utf-8"
    await response.prepare(request)
    if request.method == "HEAD":
        return response
    try:
        await response.write(first)
        async for piece in pieces:
            await response.write(piece)
        await response.write_eof()
    except ConnectionResetError:
        _log.info("a client left before its answer was complete", path=request.path)
    except Exception:  # noqa: BLE001 - the problems middleware can send no other answer after the head
        _log.exception("an answer ended before it was complete", path=request.path)
        if request.transport is not None:
            request.transport.abort()
    return response
