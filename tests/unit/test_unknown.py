"""Unknown parameters and fields of a route are found, and similar known names are suggested."""

from typing import Annotated, Any, get_args

import orjson
import pytest
from multidict import MultiDict
from pydantic import AliasChoices, BaseModel

from service.api.call import Csv, Nothing
from service.api.fields import Body
from service.api.problems import shown
from service.api.unknown import (
    MAX_NAME_CHARS,
    MAX_NAMES,
    Understood,
    header_value,
    refusal_of_parameters,
    unknown_parameters,
)
from service.documents.request_examples import REQUESTS
from service.inventory.models import ItemQuery
from service.server.app import ROUTES

BODIES = {f"{route.method} {route.path}": route.body for route in ROUTES if route.body not in (Nothing, Csv)}


class Part(Body):
    unitPrice: int | None = None


class Order(Body):
    order_id: Annotated[str, "an id"] = ""
    parts: list[Part] | None = None
    main: Part | None = None


def test_unknown_fields_are_named_with_their_place_and_each_once() -> None:
    value: dict[str, Any] = {
        "order_id": "1",
        "created_at": "now",
        "parts": [{"unitPrice": 1, "color": "red"}, {"color": "blue"}, 7],
        "main": {"weight": {"color": 1}},
    }
    understood = Understood(Order, value)
    assert understood.misspelt == []
    assert understood.ignored == ["created_at", "parts[].color", "main.weight"]


def test_a_known_field_in_another_spelling_is_an_error_that_names_the_right_one() -> None:
    understood = Understood(Order, {"orderId": "1", "parts": [{}, {"unit_price": 1}], "main": {"UNIT-PRICE": 2}})
    assert [(error.pointer, error.detail) for error in understood.misspelt] == [
        ("/orderId", "is spelled order_id here"),
        ("/parts/1/unit_price", "is spelled unitPrice here"),
        ("/main/UNIT-PRICE", "is spelled unitPrice here"),
    ]
    assert understood.ignored == []


@pytest.mark.parametrize("route", BODIES)
def test_every_field_of_every_body_is_refused_in_other_spellings(route: str) -> None:
    model = BODIES[route]
    for own, info in model.model_fields.items():
        alias = info.validation_alias
        names = {str(name) for name in alias.choices} if isinstance(alias, AliasChoices) else {own}
        words = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in own)
        camel = words.title().replace("_", "")
        others = {words, camel, camel[0].lower() + camel[1:], own.upper(), own.title()} - names
        assert others
        for other in others:
            (error,) = Understood(model, {other: 1}).misspelt
            assert error.pointer == f"/{other}"
            assert error.detail in {f"is spelled {name} here" for name in names}


@pytest.mark.parametrize("route", BODIES)
def test_texts_of_integers_and_booleans_are_taken_as_these(route: str) -> None:
    model, example = BODIES[route], REQUESTS[route]
    assert model.model_validate(_as_texts(model, example)) == model.model_validate(example)


def _as_texts(model: type[BaseModel], value: dict[str, Any]) -> dict[str, Any]:
    return {name: _as_text(value[name]) if name != "attributes" else value[name] for name in value}


def _as_text(value: Any) -> Any:
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case dict():
            return {name: _as_text(inner) for name, inner in value.items()}
    return value


def test_texts_that_are_no_integers_are_refused() -> None:
    model = BODIES["POST /items"]
    for text in ("", "1.0", "1e3", " 1", "0x1", "one", "٣", "9" * 19):
        with pytest.raises(ValueError, match="integer"):
            model.model_validate({"name": "A", "quantity": text})


def test_the_nearest_parameter_is_named() -> None:
    unknown = unknown_parameters(MultiDict([("locationId", "1"), ("_", "2"), ("limit", "3")]), ItemQuery)
    assert unknown == ["locationId"]
    problem = refusal_of_parameters(unknown, ItemQuery)
    assert problem.detail == "?locationId: is not a parameter of this route; did you mean ?location_id"
    assert problem.errors[0].pointer == "?locationId"


def test_where_no_parameter_is_near_all_are_named() -> None:
    assert "?skip, ?limit" in refusal_of_parameters(["zzz"], ItemQuery).detail
    assert refusal_of_parameters(["zzz"], Nothing).detail.endswith("which takes none")


def test_many_unknown_parameters_make_a_small_answer() -> None:
    problem = refusal_of_parameters([f"{number}" * 1000 for number in range(1000)], ItemQuery)
    assert "(and 999 more)" in problem.detail
    body = shown(problem)
    errors = body["errors"]
    assert isinstance(errors, list)
    assert (len(errors), body["moreErrors"]) == (20, 980)
    assert sum(len(error["pointer"]) + len(error["detail"]) for error in errors) < 10_000
    assert len(orjson.dumps(body)) < 15_000


def test_the_header_is_bounded_and_holds_only_what_a_header_may() -> None:
    names = ["id", "filters.color", "items[].a", "a b", "ü\r\nX: 1", "\udc80", "x" * 1000, *map(str, range(1000))]
    text = header_value(names)
    assert text.startswith("id, filters.color, items[].a, a%20b, %C3%BC%0D%0AX%3A%201, ")
    assert text.endswith(f", and {len(names) - MAX_NAMES} more")
    assert len(text) <= (MAX_NAMES + 1) * (MAX_NAME_CHARS + 2)
    assert text.isascii()
    assert text.isprintable()
    assert header_value(["id"]) == "id"


def test_a_model_within_an_optional_list_is_found() -> None:
    assert get_args(Order.model_fields["parts"].annotation)
    assert Understood(Order, {"parts": [{"x": 1}]}).ignored == ["parts[].x"]
