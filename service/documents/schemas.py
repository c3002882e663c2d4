"""JSON Schemas of the bodies, queries and answers of routes and of the data of events, made by
pydantic."""

import json
from collections.abc import Iterable
from typing import Any, Literal

from pydantic import BaseModel, PydanticUserError, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from service.api.call import Csv, Nothing
from service.api.routes import Route
from service.events.catalogue import CATALOGUE

Schema = dict[str, Any]
Mode = Literal["validation", "serialization"]
PREFIX = "#/components/schemas/"


class _Generator(GenerateJsonSchema):
    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 - pydantic's signature
        # A title that repeats the field's name says nothing.
        return False


class Schemas:
    """The schemas of `routes` and of all events. `components` has the schemas with a name, to which
    the others refer."""

    def __init__(self, routes: Iterable[Route]) -> None:
        inputs: list[tuple[Any, Mode, TypeAdapter[Any]]] = []
        for route in routes:
            where = f"{route.method} {route.path}"
            inputs += [
                (kind, "validation", TypeAdapter(kind))
                for kind in (route.body, route.query)
                if kind not in (Nothing, Csv)
            ]
            inputs += [
                (_key(returns), "serialization", _adapter(returns, where))
                for returns in (route.returns, *(returns for _, returns in route.also))
                if returns is not None
            ]
        inputs += [(event, "serialization", TypeAdapter(event)) for event in CATALOGUE.values()]
        self._found, definitions = TypeAdapter.json_schemas(
            list({(key, mode): (key, mode, adapter) for key, mode, adapter in inputs}.values()),
            ref_template=PREFIX + "{model}",
            schema_generator=_Generator,
        )
        self.components: dict[str, Schema] = dict(sorted(definitions.get("$defs", {}).items()))
        # A query becomes a list of parameters in the document, so its schema is no component.
        self._queries = {
            query: self.components.pop(self._found[query, "validation"]["$ref"].removeprefix(PREFIX))
            for query in {route.query for route in routes} - {Nothing}
        }
        for component in self.components.values():
            for field in component.get("properties", {}).values():
                _describe_default(field)

    def body(self, model: type[BaseModel]) -> Schema:
        return self._found[model, "validation"]

    def answer(self, returns: Any) -> Schema:
        return self._found[_key(returns), "serialization"]

    def parameters(self, model: type[BaseModel]) -> list[Schema]:
        """The query parameters of a model. A query has no null, so a parameter that may be null may
        be left out instead."""
        if model is Nothing:
            return []
        schema = self._queries[model]
        return [
            {
                "name": name,
                "in": "query",
                "required": name in schema.get("required", ()),
                **({"description": field["description"]} if "description" in field else {}),
                "schema": _without_null(field),
            }
            for name, field in schema.get("properties", {}).items()
        ]


def _describe_default(field: Schema) -> None:
    """Moves the default of a field into its description. Generators of clients take a field with a
    default for one that is always there."""
    default = field.pop("default", None)
    if default is not None:
        described = field.get("description")
        without = f"`{json.dumps(default)}` if it is left out."
        field["description"] = f"{described} {without}" if described else without


def _key(returns: Any) -> Any:
    # A `list[X]` is another object wherever it is written. Such objects are equal, so they have one
    # key.
    return ("answer", returns)


def _adapter(returns: Any, where: str) -> TypeAdapter[Any]:
    try:
        return TypeAdapter(returns)
    except PydanticUserError as error:
        raise TypeError(f"{where}: `returns` has no schema: {error.message}") from None


def _without_null(field: Schema) -> Schema:
    schema = {name: value for name, value in field.items() if name not in {"description", "title"}}
    if schema.get("default", ...) is None:
        del schema["default"]
    choices = schema.pop("anyOf", None)
    if choices is None:
        return schema
    real = [choice for choice in choices if choice != {"type": "null"}]
    return {**schema, **real[0]} if len(real) == 1 else {**schema, "anyOf": real}
