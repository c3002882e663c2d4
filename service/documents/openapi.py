"""The OpenAPI document, from the route table and the catalogue of events."""

import re
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any

from service import __version__
from service.api.call import Csv, Nothing
from service.api.costs import may_be_costly
from service.api.paging import OptionalPage, Page
from service.api.problems import MAX_ERRORS, shown
from service.api.routes import PREFIX, Route
from service.api.unknown import HEADER as IGNORED
from service.documents import receivers
from service.documents.answers import answer_example
from service.documents.examples import EXAMPLES
from service.documents.openapi_headers import HEADERS, IDEMPOTENCY_KEY, IF_MATCH
from service.documents.problem_examples import PROBLEMS
from service.documents.request_examples import CSV, REQUESTS
from service.documents.schemas import Schema, Schemas
from service.events.catalogue import CATALOGUE
from service.platform.errors import Problem

PROBLEM_TYPE = "application/problem+json"
_ABOUT_ITSELF = frozenset({"health", "openapi.json", "asyncapi.json"})
_PARAMETER = re.compile(r"\{(\w+)\}")
_ABOUT = (
    "An inventory whose events are delivered by webhooks. Ids are UUIDs, times ISO 8601 in UTC with milliseconds. Every error is "
    "an RFC 9457 problem. Lists come in pages by `skip` and `limit`. `X-Total-Count` says how many rows there are, and `Link` "
    "leads to the other pages."
)
_PROBLEM: Schema = {
    "type": "object",
    "description": "An error in the format of RFC 9457. `error` repeats `detail` for older clients.",
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string"},
        "error": {"type": "string"},
        "errors": {
            "type": "array",
            "description": "The first bad fields, with one entry for each.",
            "items": {
                "type": "object",
                "properties": {
                    "pointer": {
                        "type": "string",
                        "description": "A JSON pointer into the body, or `?name` for a query parameter.",
                    },
                    "detail": {"type": "string"},
                },
                "required": ["pointer", "detail"],
            },
            "maxItems": MAX_ERRORS,
        },
        "moreErrors": {
            "type": "integer",
            "description": "How many bad fields there are besides those in `errors`.",
            "minimum": 1,
        },
    },
    "required": ["type", "title", "status", "detail", "error"],
}
_PROBLEM_EXAMPLES = {type(problem): shown(problem) for problem in PROBLEMS}
_OWN_HEADERS = {
    HTTPStatus.UNAUTHORIZED: ["WWW-Authenticate"],
    HTTPStatus.TOO_MANY_REQUESTS: ["Retry-After"],
    HTTPStatus.SERVICE_UNAVAILABLE: ["Retry-After"],
}


class Undocumented(Exception):
    """A route lacks something that the document has of every route. The message names the route and
    what it lacks."""


def check(routes: Iterable[Route]) -> None:
    """Raises Undocumented, which names every route that lacks its summary, its answer or an example
    of its body."""
    wanting = []
    for route in routes:
        where = _where(route)
        if not route.summary.strip():
            wanting.append(f"{where} has no summary")
        if route.returns is None and route.status != HTTPStatus.NO_CONTENT:
            wanting.append(f"{where} answers {route.status} and does not say with what: give it `returns`")
        if route.returns is not None and route.status == HTTPStatus.NO_CONTENT:
            wanting.append(f"{where} answers 204, which has no body, and has `returns`")
        if route.body is not Nothing and where not in REQUESTS and where not in CSV:
            wanting.append(f"{where} takes a body of which service/documents/request_examples.py has no example")
    if wanting:
        raise Undocumented("; ".join(wanting))


def _where(route: Route) -> str:
    return f"{route.method} {route.path}"


def document(routes: Sequence[Route]) -> dict[str, Any]:
    """The OpenAPI 3.1 document. Raises Undocumented."""
    check(routes)
    schemas = Schemas(routes)
    problems = {kind.status: kind for kind in Problem.__subclasses__()}
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas, problems)
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "Jossiedb",
            "version": __version__,
            "description": _ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": PREFIX}],
        "security": [{"bearer": []}],
        "tags": [{"name": name} for name in dict.fromkeys(tag(route) for route in routes)]
        + [{"name": "deliveries", "description": receivers.ABOUT}],
        "paths": paths,
        "webhooks": {event.type: {"post": _delivery(event)} for event in CATALOGUE.values()},
        "components": {
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "The `token` that `POST /auth/login` answers with.",
                }
            },
            "headers": HEADERS,
            "responses": {_response_name(kind): _problem_response(kind) for _, kind in sorted(problems.items())},
            "parameters": {
                "Idempotency-Key": IDEMPOTENCY_KEY,
                "If-Match": IF_MATCH,
                **{name: _delivery_header(name) for name in receivers.header_names()},
            },
            "schemas": {
                "Problem": _PROBLEM,
                **schemas.components,
                **{receivers.envelope_name(event): receivers.envelope(event) for event in CATALOGUE.values()},
            },
        },
    }


def tag(route: Route) -> str:
    """The group in which the document shows a route: the first part of its path, or `service` for
    routes about the API itself."""
    first = route.path.split("/")[1]
    return "service" if first in _ABOUT_ITSELF else first


def who(route: Route) -> str:
    """The roles that may call a route, by the table of routes. A route may also refuse a call
    because of the object that it concerns."""
    if route.public:
        return "anybody"
    return ", ".join(sorted(route.roles)) or "any user"


def _operation(route: Route, schemas: Schemas, problems: dict[int, type[Problem]]) -> Schema:
    operation: Schema = {
        "operationId": _operation_id(route),
        "tags": [tag(route)],
        "summary": route.summary,
        "description": f"For {who(route)}.",
    }
    if route.public:
        operation["security"] = []
    parameters = [_path_parameter(name) for name in _PARAMETER.findall(route.path)] + schemas.parameters(route.query)
    if route.keeps_answers:
        parameters.append({"$ref": "#/components/parameters/Idempotency-Key"})
    if _is_conditional(route):
        parameters.append({"$ref": "#/components/parameters/If-Match"})
    if parameters:
        operation["parameters"] = parameters
    if route.body is Csv:
        # Generators of clients do not know CSV. As a binary file, its bytes are sent unchanged.
        csv = {"schema": {"type": "string", "format": "binary"}, "example": CSV[_where(route)]}
        operation["requestBody"] = {"required": True, "content": {"text/csv": csv}}
    elif route.body is not Nothing:
        schema = schemas.body(route.body)
        operation["requestBody"] = {
            # A POST without a body counts as an empty object, which is enough if all fields are
            # optional.
            "required": _demands_something(schema, schemas),
            "content": {"application/json": {"schema": schema, "example": REQUESTS[_where(route)]}},
        }
    answers = {
        str(status): _answer(route, status, returns, schemas)
        for status, returns in (*route.also, (route.status, route.returns))
    }
    for status in sorted(_refusals(route) & problems.keys()):
        answers[str(status)] = {"$ref": f"#/components/responses/{_response_name(problems[status])}"}
    operation["responses"] = answers
    return operation


def _operation_id(route: Route) -> str:
    words = _PARAMETER.sub(r"by_\1", route.path).strip("/")
    return f"{route.method.lower()}_{re.sub('[^0-9A-Za-z]+', '_', words)}"


def _path_parameter(name: str) -> Schema:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "format": "uuid"}}


def _demands_something(schema: Schema, schemas: Schemas) -> bool:
    name = schema["$ref"].rpartition("/")[2]
    return bool(schemas.components[name].get("required"))


def _answer(route: Route, status: int, returns: Any, schemas: Schemas) -> Schema:
    names = ["X-Request-ID"]
    if route.method != "GET":
        names.append(IGNORED)
    is_list = issubclass(route.query, Page) and getattr(returns, "__origin__", None) is list
    if is_list or issubclass(route.query, OptionalPage):
        names += ["X-Total-Count", "X-Total-Count-Is-Minimum", "Link"]
    elif route.path.endswith("{id}") and returns is not None:
        names.append("ETag")
    if route.keeps_answers:
        names.append("Idempotency-Replayed")
    answer: Schema = {"description": HTTPStatus(status).phrase, "headers": _headers(names)}
    if route.streams is not None:
        answer["content"] = {route.streams: {"schema": {"type": "string"}, "example": CSV[_where(route)]}}
    elif returns is not None:
        schema = schemas.answer(returns)
        # The values of the route belong to its usual answer. Its other answers have types of their
        # own.
        where = _where(route) if status == route.status else ""
        answer["content"] = {
            "application/json": {"schema": schema, "example": answer_example(schema, schemas.components, where)}
        }
    return answer


def _refusals(route: Route) -> set[int]:
    """The statuses of the problems that a route of this shape may answer with."""
    # 400: every route refuses a query parameter that it does not know.
    found = {400, 503, *route.refuses}
    changes = route.method != "GET"
    own = bool(_PARAMETER.search(route.path))
    if changes:
        # A body that is too large is refused even if it has no effect.
        found |= {413}
    if route.body is not Nothing:
        found |= {415}
    if own:
        found |= {404}
    if not route.public or changes:
        found |= {401}
    if route.roles or own or changes:
        found |= {403}
    if changes:
        found |= {409, 422}
    if (route.public and changes) or may_be_costly(route.method, route.path):
        found |= {429}
    if _is_conditional(route):
        found |= {412}
    return found


def _is_conditional(route: Route) -> bool:
    """Whether a route changes one resource, so that a client may name the state that it means with
    If-Match."""
    steps = route.method == "POST" and route.path.startswith(
        ("/transfers/{id}/", "/checkouts/{id}/", "/locations/{id}/", "/webhooks/{id}/secret/")
    )
    return bool(_PARAMETER.search(route.path)) and (route.method in {"PUT", "DELETE"} or steps)


def _headers(names: Iterable[str]) -> Schema:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _response_name(kind: type[Problem]) -> str:
    return kind.__name__


def _problem_response(kind: type[Problem]) -> Schema:
    return {
        "description": kind.title,
        "headers": _headers(["X-Request-ID", *_OWN_HEADERS.get(HTTPStatus(kind.status), [])]),
        "content": {
            PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "example": _PROBLEM_EXAMPLES[kind]}
        },
    }


def _delivery(event: type[Any]) -> Schema:
    name = receivers.envelope_name(event)
    return {
        "operationId": f"receive_{event.type.replace('-', '_')}",
        "tags": ["deliveries"],
        "summary": event.summary,
        "security": [],
        "parameters": [{"$ref": f"#/components/parameters/{header}"} for header in receivers.header_names()],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"$ref": f"#/components/schemas/{name}"},
                    "example": EXAMPLES[event.type].payload,
                }
            },
        },
        "responses": {status: {"description": text} for status, text in receivers.ANSWERS.items()},
    }


def _delivery_header(name: str) -> Schema:
    return {
        "name": name,
        "in": "header",
        "required": True,
        "description": receivers.header_description(name),
        "schema": receivers.header_schema(name),
    }
