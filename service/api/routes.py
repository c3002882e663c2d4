"""The route table: what every route takes and gives, and how a request becomes a Call."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import web
from pydantic import BaseModel, ValidationError

from service.api.call import BodyT, Call, Nothing, Principal, QueryT, Reply
from service.api.problems import invalid
from service.mutation import Origin
from service.platform import canonical
from service.platform.errors import BadRequest, Forbidden, UnsupportedMediaType

PREFIX = "/api/v1"
REQUEST_ID = web.RequestKey("request_id", str)
Authenticate = Callable[[web.Request], Awaitable[Principal]]


@dataclass(frozen=True, slots=True)
class Route:
    """One route. `roles` empty: any signed-in user; `public`: nobody need be signed in. `returns` documents the answer."""

    method: str
    path: str
    handler: Callable[[Call[Any, Any]], Awaitable[Reply]]
    summary: str
    body: type[BaseModel]
    query: type[BaseModel]
    returns: Any
    status: int
    public: bool
    roles: frozenset[str]


def route(
    method: str,
    path: str,
    handler: Callable[[Call[BodyT, QueryT]], Awaitable[Reply]],
    summary: str,
    *,
    body: type[BodyT] = Nothing,  # type: ignore[assignment]  # the default binds BodyT to Nothing
    query: type[QueryT] = Nothing,  # type: ignore[assignment]
    returns: Any = None,
    status: int = 200,
    public: bool = False,
    roles: Iterable[str] = (),
) -> Route:
    return Route(method, path, handler, summary, body, query, returns, status, public, frozenset(roles))


def add_routes(app: web.Application, routes: Iterable[Route], authenticate: Authenticate) -> None:
    for entry in routes:
        app.router.add_route(entry.method, PREFIX + entry.path, _serve(entry, authenticate))


def _serve(entry: Route, authenticate: Authenticate) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def serve(request: web.Request) -> web.StreamResponse:
        principal = None if entry.public else await authenticate(request)
        if principal is not None and entry.roles and principal.role not in entry.roles:
            raise Forbidden(f"this needs the role {' or '.join(sorted(entry.roles))}")
        call = Call(
            request=request,
            body=await _parse_body(request, entry.body),
            query=_parse_query(request, entry.query),
            origin=Origin(
                user_id=principal.user_id if principal else None,
                ip_address=request.remote,
                request_id=request[REQUEST_ID],
            ),
            principal=principal,
        )
        reply = await entry.handler(call)
        if reply.body is None:
            return web.Response(status=reply.status, headers=reply.headers)
        return web.Response(
            status=reply.status,
            headers=reply.headers,
            body=orjson.dumps(reply.body),
            content_type="application/json",
            charset="utf-8",
        )

    return serve


async def _parse_body(request: web.Request, model: type[BaseModel]) -> BaseModel:
    if model is Nothing:
        return Nothing()
    raw = await request.read()
    if not raw:
        # A POST without a body needs no Content-Type; what it lacks, the model says.
        value: Any = {}
    else:
        if request.content_type != "application/json" and not request.content_type.endswith("+json"):
            raise UnsupportedMediaType(f"the body must be application/json, not {request.content_type}")
        try:
            value = orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            raise BadRequest(f"the body is not valid JSON: {error}") from None
        if not isinstance(value, dict):
            raise BadRequest("the body must be a JSON object")
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise invalid(error) from None


def _parse_query(request: web.Request, model: type[BaseModel]) -> BaseModel:
    if model is Nothing:
        return Nothing()
    try:
        for name, text in request.query.items():
            canonical.check_text(text, f"?{name}")
    except canonical.NotReproducible as error:
        raise BadRequest(str(error)) from None
    try:
        return model.model_validate(dict(request.query))
    except ValidationError as error:
        raise invalid(error, query=True) from None
