"""Describes routes, parses each request into a Call, and sends the handler's Reply."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

import orjson
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from pydantic import BaseModel, ValidationError

from service.api.admission import ADMISSION
from service.api.call import REQUEST_ID, SETTINGS, BodyT, Call, Csv, Nothing, Principal, QueryT, Reply
from service.api.compression import IN_LOOP_BYTES, coding_for, may_compress
from service.api.connections import body_seconds
from service.api.costs import Admitted, Cost, cost_of
from service.api.idempotency import Answer, Keyed, key_of
from service.api.parsing import loads, parse_object
from service.api.problems import invalid
from service.api.streaming import stream
from service.api.unknown import HEADER as IGNORED
from service.api.unknown import (
    check_given_once,
    header_value,
    refusal_of_parameters,
    unknown_parameters,
)
from service.platform import canonical, trace
from service.platform.errors import (
    BadRequest,
    FieldError,
    Forbidden,
    PayloadTooLarge,
    TooSlow,
    Unreadable,
    UnsupportedMediaType,
)
from service.platform.etag import Tags, coded
from service.records import Origin

PREFIX = "/api/v1"
MAX_BODY_BYTES = 256 * 1024
Authenticate = Callable[[web.Request], Awaitable[Principal]]


@dataclass(frozen=True, slots=True)
class Route:
    """One route.

    - `returns` documents the answer, and `also` the answers with other statuses.
    - `public`: a caller need not be signed in.
    - `roles`: the roles that may use the route. If empty, any signed-in user may.
    - `waits`: the handler commits and then waits for another program. So its changes and its stored
      answer cannot be one transaction.
    - `refuses`: statuses of problems that the documents cannot derive from the rest of the route.
    - `max_body` is in bytes.
    - `streams`: the answer has this media type, and is sent piece by piece.
    - `plain`: the answer is never compressed.
    - `takes_unknown_parameters`: unknown query parameters are named in the answer, and not refused.
    - `shows_more`: the answer has values that its ETag does not cover. So the tag does not identify
      an answer, and serves only for If-Match.
    """

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
    waits: bool
    also: tuple[tuple[int, Any], ...]
    refuses: frozenset[int]
    max_body: int
    streams: str | None
    plain: bool
    takes_unknown_parameters: bool = False
    shows_more: bool = False

    @property
    def keeps_answers(self) -> bool:
        """Whether an Idempotency-Key has an effect here. Answers that contain tokens are not kept,
        not even sealed."""
        return self.method == "POST" and not self.public and not self.path.startswith("/auth/")


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
    waits: bool = False,
    also: Mapping[int, Any] = MappingProxyType({}),
    refuses: Iterable[int] = (),
    max_body: int = MAX_BODY_BYTES,
    streams: str | None = None,
    plain: bool = False,
) -> Route:
    return Route(
        method,
        path,
        handler,
        summary,
        body,
        query,
        returns,
        status,
        public,
        frozenset(roles),
        waits,
        tuple(also.items()),
        frozenset(refuses),
        max_body,
        streams,
        plain,
    )


def add_routes(app: web.Application, routes: Iterable[Route], authenticate: Authenticate) -> None:
    # The router tries one resource after the other. So the methods of a path share one.
    resources: dict[str, web.Resource] = {}
    for entry in routes:
        serve = _serve(entry, authenticate, cost_of(entry.method, entry.path))
        # Older clients were written for Express, which ignores a slash at the end.
        for path in (PREFIX + entry.path, PREFIX + entry.path + "/"):
            if path not in resources:
                resources[path] = app.router.add_resource(path)
            resources[path].add_route(entry.method, serve)
            if entry.method == "GET":
                # aiohttp leaves out the body. All else is as for GET, and so is Content-Length.
                resources[path].add_route("HEAD", serve)


def _serve(
    entry: Route, authenticate: Authenticate, cost: Cost
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def serve(request: web.Request) -> web.StreamResponse:
        principal = None if entry.public else await authenticate(request)
        if principal is not None and entry.roles and principal.role not in entry.roles:
            raise Forbidden(f"this needs the role {' or '.join(sorted(entry.roles))}")
        if entry.max_body != MAX_BODY_BYTES:
            request = _with_room_for(request, entry.max_body)
        query, unknown = _parse_query(request, entry)
        body, without_effect = await _parse_body(request, entry.body)
        ignored = [*unknown, *without_effect]
        call = Call(
            request=request,
            body=body,
            query=query,
            origin=Origin(
                user_id=principal.user_id if principal else None,
                ip_address=request.remote,
                request_id=request[REQUEST_ID],
                traceparent=trace.parse(request.headers.get("traceparent")),
                if_match=_tags(request, "If-Match"),
            ),
            principal=principal,
        )
        if entry.streams is not None:
            reply = await entry.handler(call)
            return await stream(request, replace(reply, headers=_naming(ignored, reply.headers)), entry.streams)
        answer = await _admit(entry, call, cost(call))
        return _response(entry, request, answer, _naming(ignored, answer.headers))

    return serve


def _naming(ignored: Sequence[str], headers: Mapping[str, str]) -> dict[str, str]:
    """The headers, with the names of parameters and fields that had no effect. Names that the
    handler has put there come last."""
    if not ignored:
        return dict(headers)
    named_by_handler = [headers[IGNORED]] if IGNORED in headers else []
    return {**headers, IGNORED: ", ".join([header_value(ignored), *named_by_handler])}


def _with_room_for(request: web.Request, max_body: int) -> web.Request:
    """The request, with a body of up to `max_body` bytes.

    aiohttp's clone drops what an earlier clone has set. Behind a trusted proxy, that is the
    client's address, scheme and host. So they are set again.
    """
    if request.remote is None:
        return request.clone(client_max_size=max_body, scheme=request.scheme, host=request.host)
    return request.clone(client_max_size=max_body, remote=request.remote, scheme=request.scheme, host=request.host)


async def _admit(entry: Route, call: Call[Any, Any], admitted: Admitted) -> Answer:
    if admitted is None:
        return await _answer(entry, call)
    admission, readonly = call.request.app[ADMISSION], entry.method == "GET"
    place = (
        admission.importing(call.pool)
        if admitted == "import"
        else admission.costly(call.pool, call.user.user_id, readonly=readonly)
    )
    async with place as unit:
        return await _answer(entry, replace(call, unit=unit))


async def _answer(entry: Route, call: Call[Any, Any]) -> Answer:
    key = key_of(call.request) if entry.keeps_answers else None
    if key is None:
        return Answer.of(await entry.handler(call))
    keyed = Keyed(call, key, await _read(call.request))
    return await (keyed.around if entry.waits else keyed.in_one_transaction)(entry.handler)


def _response(entry: Route, request: web.Request, answer: Answer, headers: dict[str, str]) -> web.Response:
    if answer.body is None:
        return web.Response(status=answer.status, headers=headers)
    coding: web.ContentCoding | None = None
    if not entry.plain and may_compress(request, answer.body):
        headers["Vary"] = "Accept-Encoding"
        coding = coding_for(request)
        if coding is not None and "ETag" in headers:
            headers["ETag"] = coded(headers["ETag"], coding.value)
    if not entry.shows_more and _is_known(request, answer):
        return web.Response(status=HTTPStatus.NOT_MODIFIED, headers=headers)
    headers["Content-Type"] = "application/json; charset=utf-8"
    response = web.Response(status=answer.status, headers=headers, body=answer.body, zlib_executor_size=IN_LOOP_BYTES)
    if coding is not None:
        response.enable_compression(coding)
    return response


def _tags(request: web.Request, name: str) -> Tags | None:
    values = request.headers.getall(name, [])
    if not values:
        return None
    try:
        return Tags.parse(",".join(values))
    except ValueError as error:
        raise BadRequest(f"{name} {error}") from None


def _is_known(request: web.Request, answer: Answer) -> bool:
    """Whether the client already has exactly this representation."""
    tag = answer.headers.get("ETag")
    if tag is None or request.method not in {"GET", "HEAD"}:
        return False
    known = _tags(request, "If-None-Match")
    return known is not None and known.match_weakly(tag)


async def _read(request: web.Request) -> bytes:
    """Reads the body. Raises Unreadable if it is incomplete or cannot be decoded, PayloadTooLarge,
    and TooSlow.

    TimeoutError and ConnectionResetError are caught here, because they come from the client.
    Elsewhere they mean that the database is away.
    """
    seconds = body_seconds(request.app[SETTINGS].jossiedb_body_timeout, request.content_length)
    try:
        async with asyncio.timeout(seconds):
            return await request.read()
    except TimeoutError:
        raise TooSlow(f"the body was not complete after {seconds:g} s") from None
    except (web.RequestPayloadError, HttpProcessingError):
        raise Unreadable("the body is not what its Content-Encoding or Transfer-Encoding says") from None
    except ConnectionResetError:
        raise Unreadable("the connection was lost before the body was complete") from None
    except web.HTTPRequestEntityTooLarge:
        raise PayloadTooLarge(f"the request body is larger than {request.client_max_size} bytes") from None


async def _parse_body(request: web.Request, model: type[BaseModel]) -> tuple[BaseModel, list[str]]:
    """The parsed body, and the names of the fields that have no effect."""
    if model is Nothing:
        return Nothing(), await _names_in_unwanted_body(request)
    raw = await _read(request)
    if model is Csv:
        if request.content_type != "text/csv":
            raise UnsupportedMediaType(f"the body must be text/csv, not {request.content_type}")
        return Csv(raw=raw), []
    if not raw:
        # A POST without a body needs no Content-Type. The model reports the fields that are
        # missing.
        return parse_object(model, {})
    if request.content_type != "application/json" and not request.content_type.endswith("+json"):
        raise UnsupportedMediaType(f"the body must be application/json, not {request.content_type}")
    try:
        value = loads(raw)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"the body is not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise BadRequest("the body must be a JSON object")
    return parse_object(model, value)


async def _names_in_unwanted_body(request: web.Request) -> list[str]:
    """For a route that takes no body: the names of the fields of the request's body. `*` if the
    body is no JSON object."""
    if request.method in {"GET", "HEAD"} or not request.can_read_body:
        return []
    raw = await _read(request)
    try:
        value = loads(raw or b"{}")
    except orjson.JSONDecodeError:
        return ["*"]
    return list(value) if isinstance(value, dict) else ["*"]


def _parse_query(request: web.Request, entry: Route) -> tuple[BaseModel, list[str]]:
    """The parsed query parameters, and the names of those that have no effect."""
    model = entry.query
    unknown = unknown_parameters(request.query, model)
    if unknown and not entry.takes_unknown_parameters:
        # This is the only place that decides what happens to an unknown parameter.
        raise refusal_of_parameters(unknown, model)
    ignored = [f"?{name}" for name in unknown]
    if model is Nothing:
        return Nothing(), ignored
    check_given_once(request.query)
    given = {name: text for name, text in request.query.items() if name not in unknown}
    for name, text in given.items():
        try:
            canonical.check_text(text, f"?{name}")
        except canonical.NotReproducible as error:
            why = str(error).removeprefix(f"?{name} ")
            raise BadRequest(str(error), errors=[FieldError(f"?{name}", why)]) from None
    try:
        return model.model_validate(given), ignored
    except ValidationError as error:
        raise invalid(error, query=True) from None
