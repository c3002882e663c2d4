"""The examples of answers, made from a schema and the example values of its fields, its types and
its route."""

from collections.abc import Mapping
from typing import Any

from service.documents.route_examples import BY_ROUTE
from service.documents.schemas import PREFIX, Schema
from service.documents.type_examples import BY_TYPE, FIELDS

Values = Mapping[str, Any]


def answer_example(schema: Schema, components: Mapping[str, Schema], where: str) -> Any:
    """An example of an answer with this schema. `where` is its route, such as `GET /items`. Raises
    LookupError for a field without a value, and for a value without a field."""
    return _example(schema, components, BY_ROUTE.get(where, {}), where)


def _example(schema: Schema, components: Mapping[str, Schema], own: Values, where: str) -> Any:
    if schema.get("type") == "array":
        # One element is enough for an example.
        return [_example(schema["items"], components, own, where)]
    if (name := _named(schema)) is None:
        return _whole(own, where)
    return _object(name, components, own, where)


def _object(name: str, components: Mapping[str, Schema], own: Values, where: str) -> dict[str, Any]:
    """An example of the schema `name`. `own` has the values by which this route differs from others
    that answer with it."""
    properties: Mapping[str, Schema] = components[name]["properties"]
    values = {**BY_TYPE.get(name, {}), **own}
    if odd := values.keys() - properties.keys():
        raise LookupError(f"the example of {name} in {where} has {', '.join(sorted(odd))}, which it has not")
    made: dict[str, Any] = {}
    for field, schema in properties.items():
        inner = _inner(schema)
        value = values.get(field)
        if field not in values and field not in components[name].get("required", ()):
            # The field is optional, and neither this type nor this route has an example of it.
            continue
        if inner is not None and (field not in values or isinstance(value, Mapping)):
            in_list = schema.get("type") == "array"
            found = _object(inner, components, value or {}, where)
            made[field] = [found] if in_list else found
        elif field in values:
            made[field] = value
        elif field in FIELDS:
            made[field] = FIELDS[field]
        elif {"type": "null"} in schema.get("anyOf", ()):
            made[field] = None
        else:
            raise LookupError(f"service/documents/type_examples.py has no example of {field} of {name}")
    return made


def _inner(schema: Schema) -> str | None:
    """The name of the schema of the objects in a field: of the one object, or of those in a list.
    None if it holds no object."""
    choices = [schema, schema.get("items", {}), *schema.get("anyOf", ())]
    return next((name for choice in choices if (name := _named(choice)) is not None), None)


def _named(schema: Schema) -> str | None:
    reference: str | None = schema.get("$ref")
    return None if reference is None else reference.removeprefix(PREFIX)


def _whole(own: Values, where: str) -> Values:
    if not own:
        raise LookupError(f"service/documents/route_examples.py has no example of the answer of {where}")
    return own
