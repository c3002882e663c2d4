"""The route table: what every route takes and gives, and how a request becomes a Call."""

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
from service.mutation import Origin
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

PREFIX = "/api/v1"
MAX_BODY_BYTES = 256 * 1024
Authenticate = Callable[[web.Request], Awaitable[Principal]]


@dataclass(frozen=True, slots=True)
class Route:
    """One route. `roles` empty: any signed-in user; `public`: nobody need be signed in. `returns` documents the answer, `also`
    those of other statuses, `refuses` the statuses of problems that a route of its shape would not have. `waits`: the handler
    commits and then waits for somebody outside, so it cannot be one transaction with its answer. `max_body` in bytes. `streams`:
    the answer is of this media type and sent piece by piece. `plain`: the answer is never compressed. `takes_unknown_parameters`:
    they are named in the answer, and not refused. `shows_more`: the answer holds what its ETag is not made of, so that the tag
    stands for no answer; it is of use in If-Match alone."""

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
        """Whether an Idempotency-Key counts here. Answers that hold tokens are not kept, not even sealed."""
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
    for entry in routes:
        serve = _serve(entry, authenticate, cost_of(entry.method, entry.path))
        # Express, which older clients were written for, takes a slash at the end as none.
        for path in (PREFIX + entry.path, PREFIX + entry.path + "/"):
            app.router.add_route(entry.method, path, serve)
            if entry.method == "GET":
                # The same in all but the body, which aiohttp leaves out; Content-Length stays that of the GET.
                app.router.add_route("HEAD", path, serve)


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
        return _response(entry, request, replace(answer, headers=_naming(ignored, answer.headers)))

    return serve


def _naming(ignored: Sequence[str], headers: Mapping[str, str]) -> dict[str, str]:
    """The headers, with the names of what had no effect, before those that the handler tells."""
    if not ignored:
        return dict(headers)
    told = [headers[IGNORED]] if IGNORED in headers else []
    return {**headers, IGNORED: ", ".join([header_value(ignored), *told])}


def _with_room_for(request: web.Request, max_body: int) -> web.Request:
    """The request, with a body of up to so many bytes. aiohttp's clone drops what an earlier clone
    was given: behind a trusted proxy that is the client's address, scheme and host."""
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


def _response(entry: Route, request: web.Request, answer: Answer) -> web.Response:
    if answer.body is None:
        return web.Response(status=answer.status, headers=answer.headers)
    headers = dict(answer.headers)
    coding: web.ContentCoding | None = None
    if not entry.plain and may_compress(request, answer.body):
        headers["Vary"] = "Accept-Encoding"
        coding = coding_for(request)
        if coding is not None and "ETag" in headers:
            headers["ETag"] = coded(headers["ETag"], coding.value)
    if not entry.shows_more and _is_known(request, answer):
        return web.Response(status=HTTPStatus.NOT_MODIFIED, headers=headers)
    response = web.Response(
        status=answer.status,
        headers=headers,
        body=answer.body,
        content_type="application/json",
        charset="utf-8",
        zlib_executor_size=IN_LOOP_BYTES,
    )
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
    """Whether the client has this very representation already."""
    tag = answer.headers.get("ETag")
    if tag is None or request.method not in {"GET", "HEAD"}:
        return False
    known = _tags(request, "If-None-Match")
    return known is not None and known.match_weakly(tag)


async def _read(request: web.Request) -> bytes:
    """The body. Raises Unreadable where it cannot be had, which is the client's doing and not the database's."""
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
    """The body, and the names of what has no effect in it."""
    if model is Nothing:
        return Nothing(), await _names_in_unwanted_body(request)
    raw = await _read(request)
    if model is Csv:
        if request.content_type != "text/csv":
            raise UnsupportedMediaType(f"the body must be text/csv, not {request.content_type}")
        return Csv(raw=raw), []
    if not raw:
        # A POST without a body needs no Content-Type; what it lacks, the model says.
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
    """The names of the fields of a body that the route does not take; `*` for a body that is no JSON object."""
    if request.method in {"GET", "HEAD"} or not request.can_read_body:
        return []
    raw = await _read(request)
    try:
        value = loads(raw or b"{}")
    except orjson.JSONDecodeError:
        return ["*"]
    return list(value) if isinstance(value, dict) else ["*"]


def _parse_query(request: web.Request, entry: Route) -> tuple[BaseModel, list[str]]:
    """The query parameters, and the names of those without an effect."""
    model = entry.query
    unknown = unknown_parameters(request.query, model)
    if unknown and not entry.takes_unknown_parameters:
        # Nowhere else is it decided what becomes of such a name.
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
