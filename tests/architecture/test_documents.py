"""The documents describe all routes and events, and are valid OpenAPI and AsyncAPI."""

import dataclasses
import json
from datetime import datetime
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import jsonschema_rs
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from pydantic import ValidationError
from typing_extensions import TypedDict

from relay.send.envelope import envelope
from relay.send.target import Target
from service.api.call import Csv, Nothing
from service.api.fields import Body
from service.documents import asyncapi, examples, openapi
from service.documents.request_examples import CSV, REQUESTS
from service.documents.route_examples import BY_ROUTE
from service.documents.type_examples import BY_TYPE
from service.events.catalogue import CATALOGUE
from service.events.data import EventData
from service.inventory import sheet
from service.platform import canonical
from service.platform.errors import Problem
from service.server.app import ROUTES
from tools.make_documents import DOCS, documents

ASYNCAPI_SCHEMA = Path(__file__).parent / "vendor" / "asyncapi-specs-6.11.1" / "3.0.0-without-$id.json"
EVENTS = pytest.mark.parametrize("event", CATALOGUE.values(), ids=lambda event: event.type)


@pytest.mark.parametrize("name", ["openapi.json", "asyncapi.json", "REFERENCE.md", "EVENTS.md", "ARCHITECTURE.md"])
def test_the_committed_document_is_that_of_the_code(name: str) -> None:
    assert (DOCS / name).read_text(encoding="utf-8") == documents()[name], "run `make documents`"


def test_the_openapi_document_is_valid() -> None:
    document = openapi.document(ROUTES)
    assert [error.message for error in OpenAPIV31SpecValidator(document).iter_errors()] == []


def test_the_openapi_document_has_every_route_and_every_event() -> None:
    document = openapi.document(ROUTES)
    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert described == {(route.method, route.path) for route in ROUTES}
    assert list(document["webhooks"]) == list(CATALOGUE)
    operations = [operation for methods in document["paths"].values() for operation in methods.values()]
    operations += [operation for methods in document["webhooks"].values() for operation in methods.values()]
    ids = [operation["operationId"] for operation in operations]
    assert len(set(ids)) == len(ids)


def test_the_asyncapi_document_is_valid() -> None:
    schema = json.loads(ASYNCAPI_SCHEMA.read_text(encoding="utf-8"))
    errors = jsonschema_rs.Draft7Validator(schema).iter_errors(asyncapi.document())
    assert [(error.instance_path, error.message) for error in errors] == []


def test_the_asyncapi_document_has_every_event() -> None:
    document = asyncapi.document()
    messages = document["components"]["messages"]
    assert [message["name"] for message in messages.values()] == list(CATALOGUE)
    assert list(document["channels"]["webhook"]["messages"]) == list(messages)
    assert len(document["operations"]["deliver"]["messages"]) == len(CATALOGUE)


@pytest.mark.parametrize("document", [openapi.document(ROUTES), asyncapi.document()], ids=["openapi", "asyncapi"])
def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    found = 0
    for reference in _references(document):
        found += 1
        target: Any = document
        for part in reference.removeprefix("#/").split("/"):
            target = target[part]
    assert found > 100


def _references(part: Any) -> list[str]:
    match part:
        case dict():
            own = [part["$ref"]] if isinstance(part.get("$ref"), str) else []
            return own + [reference for inner in part.values() for reference in _references(inner)]
        case list():
            return [reference for inner in part for reference in _references(inner)]
    return []


@EVENTS
def test_an_example_is_what_a_receiver_gets(event: type[EventData]) -> None:
    """The example's body and headers equal, byte for byte, those that a relay makes of the
    event."""
    example = examples.EXAMPLES[event.type]
    data = event.model_validate(example.payload["data"], extra="forbid").subject().data
    assert canonical.recanonicalise(data) == (data, example.payload["data"])
    target = Target(UUID(examples.WEBHOOK_ID), 1, "http://127.0.0.1/", 3, 5000, 30_000, secret=examples.SECRET)
    sent = envelope(
        target,
        event_id=UUID(examples.EVENT_ID),
        event_type=event.type,
        data=data.encode(),
        occurred_at=datetime.fromisoformat(examples.OCCURRED_AT),
        attempt=1,
        timestamp=examples.SENT_AT,
    )
    assert json.loads(sent.body) == example.payload
    assert example.headers.items() <= sent.headers.items()


@EVENTS
def test_an_example_fits_the_schema_of_its_delivery(event: type[EventData]) -> None:
    components = asyncapi.document()["components"]
    example = examples.EXAMPLES[event.type]
    for name, instance in ((f"{event.__name__}Delivery", example.payload), ("Headers", example.headers)):
        schema = {"$ref": f"#/components/schemas/{name}", "components": components}
        validator = jsonschema_rs.Draft202012Validator(schema, validate_formats=True)
        assert [error.message for error in validator.iter_errors(instance)] == []


def test_each_body_has_an_example_that_is_valid() -> None:
    document = openapi.document(ROUTES)
    takes_a_body = {f"{route.method} {route.path}": route for route in ROUTES if route.body not in (Nothing, Csv)}
    assert set(REQUESTS) == set(takes_a_body)
    for name, route in takes_a_body.items():
        shown = document["paths"][route.path][route.method.lower()]["requestBody"]["content"]["application/json"]
        assert shown["example"] == REQUESTS[name]
        assert route.body.model_validate(REQUESTS[name]).model_fields_set
        assert _mistakes(REQUESTS[name], shown["schema"], document) == []


def _bodies() -> dict[str, type[Body]]:
    """The models of bodies and of the objects in them, by the names of their schemas."""
    found: dict[str, type[Body]] = {}
    waiting: list[type[Body]] = Body.__subclasses__()
    while waiting:
        model = waiting.pop()
        waiting += model.__subclasses__()
        found[model.__name__] = model
    components = openapi.document(ROUTES)["components"]["schemas"]
    return {name: model for name, model in found.items() if name in components}


def test_null_is_taken_where_the_document_says_so_and_nowhere_else() -> None:
    components = openapi.document(ROUTES)["components"]["schemas"]
    fields = 0
    for name, model in _bodies().items():
        for field, schema in components[name]["properties"].items():
            fields += 1
            documented = {"type": "null"} in schema.get("anyOf", ())
            try:
                model.model_validate({field: None})
                taken = True
            except ValidationError as refused:
                # An error of the model as a whole, or about another field that is missing, says
                # nothing about null.
                taken = not any(error["loc"][:1] == (field,) for error in refused.errors())
            assert taken == documented, f"{name}.{field}"
    assert fields > 60


def test_no_field_of_a_body_has_a_default_that_generators_take_for_its_being_there() -> None:
    components = openapi.document(ROUTES)["components"]["schemas"]
    for name in _bodies():
        for field, schema in components[name]["properties"].items():
            assert "default" not in schema, f"{name}.{field}"
    assert components["ItemCreate"]["properties"]["quantity"]["description"] == "`0` if it is left out."


def test_what_get_shows_has_the_types_that_put_takes() -> None:
    """A generated client can send back to PUT what it read with GET."""
    document = openapi.document(ROUTES)
    components = document["components"]["schemas"]
    compared = 0
    for path, methods in document["paths"].items():
        if "get" not in methods or "requestBody" not in methods.get("put", {}):
            continue
        taken = components[_name(methods["put"]["requestBody"])]["properties"]
        shown = components[_name(methods["get"]["responses"]["200"])]["properties"]
        if set(shown) == {"webhook"}:
            shown = components[shown["webhook"]["$ref"].rpartition("/")[2]]["properties"]
        for field in taken.keys() & shown.keys():
            compared += 1
            assert _choices(shown[field]) <= _choices(taken[field]), f"{path} {field}"
    assert compared > 25


def _name(with_content: dict[str, Any]) -> str:
    return str(with_content["content"]["application/json"]["schema"]["$ref"]).rpartition("/")[2]


def _choices(schema: dict[str, Any]) -> set[str]:
    """The values that a field may have where they are listed, otherwise its types. A compiler
    compares nested objects."""
    found: set[str] = set()
    for choice in schema.get("anyOf", [schema]):
        values = choice.get("enum", [choice["const"]] if "const" in choice else [])
        found |= {repr(value) for value in values} or {str(choice.get("type", "object"))}
        if choice.get("type") == "array":
            found.add(str(choice["items"].get("$ref", choice["items"].get("type"))))
    return found


def test_a_file_is_documented_with_an_example() -> None:
    document = openapi.document(ROUTES)
    taken = {f"{route.method} {route.path}" for route in ROUTES if route.body is Csv}
    given = {f"{route.method} {route.path}" for route in ROUTES if route.streams == "text/csv"}
    assert taken
    assert given
    assert taken | given == set(CSV)
    for name in CSV:
        method, path = name.split()
        operation = document["paths"][path][method.lower()]
        content = operation["requestBody"] if name in taken else operation["responses"]["200"]
        shape = {"type": "string", "format": "binary"} if name in taken else {"type": "string"}
        assert content["content"] == {"text/csv": {"schema": shape, "example": CSV[name]}}
        lines = list(sheet.read(CSV[name].encode()))
        assert lines
        assert all(line is not None and line.fault is None for line in lines)


def test_each_answer_has_an_example_that_is_valid() -> None:
    document = openapi.document(ROUTES)
    answers = {
        (route, status)
        for route in ROUTES
        for status, returns in ((route.status, route.returns), *route.also)
        if returns is not None
    }
    assert len(answers) > 50
    for route, status in answers:
        answer = document["paths"][route.path][route.method.lower()]["responses"][str(status)]
        (content,) = answer["content"].values()
        assert _mistakes(content["example"], content["schema"], document) == [], f"{route.method} {route.path} {status}"


def test_each_problem_has_an_example_that_is_valid() -> None:
    document = openapi.document(ROUTES)
    answers = document["components"]["responses"]
    assert set(answers) == {kind.__name__ for kind in Problem.__subclasses__()}
    for kind in Problem.__subclasses__():
        (content,) = answers[kind.__name__]["content"].values()
        assert _mistakes(content["example"], content["schema"], document) == []
        assert content["example"]["status"] == kind.status
        assert content["example"]["type"] == f"/problems/{kind.slug}"


def test_what_an_example_lacks_or_has_too_much_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Novel(TypedDict):
        nothingLikeIt: str

    made_up = dataclasses.replace(ROUTES[0], method="GET", path="/made-up", returns=Novel)
    with pytest.raises(LookupError, match="no example of nothingLikeIt of Novel"):
        openapi.document([made_up])
    monkeypatch.setitem(cast(dict[str, Any], BY_ROUTE), "GET /made-up", {"nothingLikeIt": "x", "odd": 1})
    with pytest.raises(LookupError, match="the example of Novel in GET /made-up has odd"):
        openapi.document([made_up])


def test_no_example_is_of_a_type_or_a_route_that_is_gone() -> None:
    components = openapi.document(ROUTES)["components"]["schemas"]
    assert set(BY_TYPE) <= set(components)
    assert set(BY_ROUTE) <= {f"{route.method} {route.path}" for route in ROUTES if route.returns is not None}


def _mistakes(example: Any, schema: dict[str, Any], document: dict[str, Any]) -> list[str]:
    whole = {**schema, "components": document["components"]}
    validator = jsonschema_rs.Draft202012Validator(whole, validate_formats=True)
    return [error.message for error in validator.iter_errors(example)]


def test_routes_that_say_too_little_are_named() -> None:
    mute = dataclasses.replace(ROUTES[0], method="POST", path="/mute", summary=" ", returns=None, status=200)
    torn = dataclasses.replace(ROUTES[0], method="POST", path="/torn", status=204)
    bare = next(route for route in ROUTES if route.body is not Nothing)
    bare = dataclasses.replace(bare, path="/bare")
    with pytest.raises(openapi.Undocumented) as refusal:
        openapi.document([*ROUTES, mute, torn, bare])
    assert str(refusal.value) == (
        "POST /mute has no summary; POST /mute answers 200 and does not say with what: give it `returns`; "
        "POST /torn answers 204, which has no body, and has `returns`; "
        "POST /bare takes a body of which service/documents/request_examples.py has no example"
    )


def test_an_answer_without_a_schema_is_named() -> None:
    odd = dataclasses.replace(ROUTES[0], method="POST", path="/odd", body=Nothing, returns=object.__new__)
    with pytest.raises(TypeError, match="POST /odd"):
        openapi.document([odd])


def test_an_event_field_without_an_example_is_named() -> None:
    class Novel(EventData):
        type = "novel"
        summary = "Something new."

        nothingLikeIt: str

    with pytest.raises(LookupError, match="nothingLikeIt of novel"):
        examples.data(Novel)
