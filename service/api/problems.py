"""Answers every error as RFC 9457 problem+json, with a member `error` as well for older clients."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from http import HTTPStatus

import asyncpg
import orjson
from aiohttp import web
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from service.api.call import DATABASE
from service.platform.db import is_away, is_passing
from service.platform.errors import BadRequest, FieldError, PayloadTooLarge, Problem, Unavailable, Unreadable
from service.platform.logs import get_logger
from service.platform.vault import SealBroken

_log = get_logger(__name__)
RETRY_AFTER_SECONDS = 5
# These bound an answer, however many errors there are: how many it shows, and how many characters
# of a sentence and of a pointer.
MAX_ERRORS = 20
MAX_DETAIL_CHARS = 500
MAX_POINTER_CHARS = 200
# Errors for which pydantic's message uses Python's names of types.
_KINDS = {
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
    "list_type": "a list",
    "string_type": "a text",
    "bool_type": "true or false",
    "int_type": "an integer",
}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def shown(problem: Problem) -> dict[str, object]:
    """The body of a problem's answer. It has some 15 KB at most."""
    detail = cut(problem.detail, MAX_DETAIL_CHARS)
    body: dict[str, object] = {
        "type": f"/problems/{problem.slug}",
        "title": problem.title,
        "status": problem.status,
        "detail": detail,
        "error": detail,
        **problem.members,
    }
    if problem.errors:
        body["errors"] = [
            {"pointer": cut(error.pointer, MAX_POINTER_CHARS), "detail": cut(error.detail, MAX_DETAIL_CHARS)}
            for error in problem.errors[:MAX_ERRORS]
        ]
    if len(problem.errors) > MAX_ERRORS:
        body["moreErrors"] = len(problem.errors) - MAX_ERRORS
    return body


def cut(text: str, most: int) -> str:
    """A text that may contain a caller's words, cut to `most` characters."""
    return text if len(text) <= most else text[: most - 1] + "…"


def respond(problem: Problem) -> web.Response:
    headers = {}
    if problem.retry_after is not None:
        headers["Retry-After"] = str(problem.retry_after)
    if problem.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return _json_problem(problem.status, shown(problem), headers)


def invalid(error: ValidationError | None, *, query: bool = False, misspelt: Sequence[FieldError] = ()) -> BadRequest:
    """All errors of a body's fields or of query parameters, in one problem. The errors in
    `misspelt` come first. If `error` is None, there must be at least one of these.

    A pointer is a JSON pointer into the body, or `?name` if `query` is set.
    """
    found_errors = error.errors(include_url=False) if error is not None else []
    errors = [*misspelt, *(FieldError(_pointer(found, query), _message(found)) for found in found_errors)]
    first = errors[0]
    pointer = cut(first.pointer, MAX_POINTER_CHARS)
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return BadRequest(f"{pointer or 'the body'}: {cut(first.detail, MAX_POINTER_CHARS)}{more}", errors=errors)


@web.middleware
async def problems_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except Unreadable as problem:
        answer = respond(problem)
        answer.force_close()
        return answer
    except Problem as problem:
        return respond(problem)
    except web.HTTPRequestEntityTooLarge:
        return respond(PayloadTooLarge(f"the request body is larger than {request.client_max_size} bytes"))
    except web.HTTPException as error:
        if error.status < HTTPStatus.BAD_REQUEST:
            raise
        return _from_http(request, error)
    except SealBroken as error:
        # The error's text has the id of the missing key, and never the sealed value. The request
        # cannot be executed before the key is back.
        _log.error("a sealed value cannot be opened", error=str(error), path=request.path)
        return respond(Unavailable(str(error)))
    except Exception as error:  # noqa: BLE001 - the last resort: logged with its traceback, and answered
        if (passing := passing_problem(error)) is not None:
            if is_away(error):
                request.app[DATABASE].missed(error, path=request.path)
            else:
                _log.warning(
                    "a request is to be tried again", path=request.path, error=str(error) or type(error).__name__
                )
            return respond(passing)
        _log.exception("a request failed", method=request.method, path=request.path)
        return _json_problem(
            500,
            {
                "type": "/problems/internal",
                "title": "Internal error",
                "status": 500,
                "detail": "the server failed; the log has the reason",
                "error": "the server failed; the log has the reason",
            },
            {},
        )


def passing_problem(error: Exception) -> Unavailable | None:
    """The answer to an error that passes: the same request may succeed later. None for any
    other."""
    if is_away(error):
        return Unavailable("the database is away; try again", retry_after=RETRY_AFTER_SECONDS)
    # The API takes no value that is beyond a limit of the server. So ProgramLimitExceededError
    # means that the server's queue of notifications was full at the commit.
    if is_passing(error) or type(error) is asyncpg.ProgramLimitExceededError:
        return Unavailable("something else was in the way at this moment; try again", retry_after=1)
    return None


def _from_http(request: web.Request, error: web.HTTPException) -> web.Response:
    """Answers errors of aiohttp itself, such as an unknown path or a method that is not allowed."""
    title = HTTPStatus(error.status).phrase
    headers: dict[str, str] = {}
    detail = error.reason
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        headers["Allow"] = allowed
        detail = f"{request.path} takes {allowed}"
    elif isinstance(error, web.HTTPNotFound):
        detail = f"there is nothing at {request.path}"
    detail = cut(detail, MAX_DETAIL_CHARS)
    slug = title.lower().replace(" ", "-")
    body = {"type": f"/problems/{slug}", "title": title, "status": error.status, "detail": detail, "error": detail}
    return _json_problem(error.status, body, headers)


def _json_problem(status: int, body: dict[str, object], headers: dict[str, str]) -> web.Response:
    return web.Response(
        status=status, body=orjson.dumps(body), content_type="application/problem+json", headers=headers
    )


def _pointer(found: ErrorDetails, query: bool) -> str:
    parts = [str(part).replace("~", "~0").replace("/", "~1") for part in _visible(found["loc"])]
    if query:
        return "?" + ".".join(parts)
    return "".join(f"/{part}" for part in parts)


def _visible(location: Iterable[int | str]) -> Iterable[int | str]:
    # Pydantic puts marks of its own into the path, such as the name of a union's member. These are
    # no fields of the caller's.
    return (part for part in location if not (isinstance(part, str) and ("[" in part or part.startswith("function-"))))


def _message(found: ErrorDetails) -> str:
    if (kind := _KINDS.get(found["type"])) is not None:
        return f"must be {kind}"
    # Pydantic's messages about the length of a text or a list use a programmer's words.
    if found["type"] in {"too_short", "too_long"} and isinstance(found["input"], str | list | dict):
        one, many = ("character", "characters") if isinstance(found["input"], str) else ("entry", "entries")
        bounds = found["ctx"]
        if found["type"] == "too_short":
            return f"must have at least {bounds['min_length']} {one if bounds['min_length'] == 1 else many}"
        return f"must have at most {bounds['max_length']} {one if bounds['max_length'] == 1 else many}"
    message = found["msg"].removeprefix("Value error, ")
    return message[:1].lower() + message[1:]
