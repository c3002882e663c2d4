"""Bodies and queries are bounded: each list, set or object with free keys has a greatest length."""

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from service.api.call import Nothing
from service.server.app import ROUTES

COLLECTIONS = {"list", "set", "frozenset", "dict", "tuple", "generator"}
MODELS = sorted(
    {model for route in ROUTES for model in (route.body, route.query) if model is not Nothing},
    key=lambda model: model.__qualname__,
)


def _collections(schema: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every collection in a core schema, with the names of the fields that lead to it."""
    if isinstance(schema, dict):
        # The length of such a tuple is fixed.
        if schema.get("type") in COLLECTIONS and not (
            schema["type"] == "tuple" and "variadic_item_index" not in schema
        ):
            yield path, schema
        for key, inner in schema.items():
            if key not in {"metadata", "serialization", "default"}:
                yield from _collections(inner, f"{path}/{key}")
    elif isinstance(schema, list | tuple):
        for inner in schema:
            yield from _collections(inner, path)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__qualname__)
def test_every_collection_of_a_model_has_a_length(model: type[BaseModel]) -> None:
    unbounded = [path for path, schema in _collections(model.__pydantic_core_schema__) if "max_length" not in schema]
    assert unbounded == []


def test_the_search_for_collections_finds_them() -> None:
    class Inner(BaseModel):
        names: dict[str, list[int]] | None = None

    class Outer(BaseModel):
        inner: list[Inner]

    assert [schema["type"] for _, schema in _collections(Outer.__pydantic_core_schema__)] == ["list", "dict", "list"]
