"""The routes of the documents, and the page that shows them."""

import asyncio
import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import as_file, files
from typing import Any

import orjson
from aiohttp import web

from service.api.call import Call, Nothing, Reply
from service.api.routes import Route, route
from service.documents import asyncapi, openapi

DOCUMENTED: web.AppKey[tuple[Route, ...]] = web.AppKey("documented", tuple)
# The page loads everything from this server. React sets styles by the CSS object model, which the
# policy does not restrict. The icons of the viewer are data: images in its style sheet.
_POLICY = "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_PAGE_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Cache-Control": "no-cache",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True, slots=True)
class Document:
    """A document as it is sent."""

    text: bytes
    etag: str

    @classmethod
    def of(cls, content: dict[str, Any]) -> "Document":
        text = orjson.dumps(content)
        return cls(text, hashlib.sha256(text).hexdigest()[:32])


@cache
def _openapi(routes: tuple[Route, ...]) -> Document:
    return Document.of(openapi.document(routes))


@cache
def _asyncapi() -> Document:
    return Document.of(asyncapi.document())


async def get_openapi(call: Call[Nothing, Nothing]) -> Reply:
    # Making the document takes a while, so a thread does it. A process makes it once.
    return _reply(call, await asyncio.to_thread(_openapi, call.request.app[DOCUMENTED]))


async def get_asyncapi(call: Call[Nothing, Nothing]) -> Reply:
    return _reply(call, await asyncio.to_thread(_asyncapi))


def _reply(call: Call[Nothing, Nothing], document: Document) -> Reply:
    headers = {"ETag": f'"{document.etag}"', "Cache-Control": "no-cache"}
    known = call.request.if_none_match or ()
    if any(etag.value in {document.etag, "*"} for etag in known):
        return Reply(status=304, headers=headers)
    return Reply(orjson.Fragment(document.text), headers=headers)


async def docs(_: web.Request) -> web.Response:
    page = files("service").joinpath("web", "static", "docs.html").read_text(encoding="utf-8")
    return web.Response(text=page, content_type="text/html", headers=_PAGE_HEADERS)


async def root(_: web.Request) -> web.Response:
    """Leads from the root to the page of the documents."""
    raise web.HTTPFound("/docs")


def add_docs(app: web.Application, routes: tuple[Route, ...]) -> None:
    """Shows `routes` at /docs, to which / leads, too. The files of the page are below /static."""
    app[DOCUMENTED] = routes
    app.router.add_get("/", root)
    app.router.add_get("/docs", docs)
    with as_file(files("service").joinpath("web", "static")) as folder:
        app.router.add_static("/static", folder)


ROUTES: tuple[Route, ...] = (
    route("GET", "/openapi.json", get_openapi, "This document", returns=dict[str, Any], public=True),
    route(
        "GET",
        "/asyncapi.json",
        get_asyncapi,
        "The AsyncAPI document for receivers",
        returns=dict[str, Any],
        public=True,
    ),
)
