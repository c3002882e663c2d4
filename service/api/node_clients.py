"""Adapts routes for clients of the Node system. JOSSIEDB_NODE_CLIENTS switches it on.

Answers then differ in three ways:

- An object has its id under `_id` as well.
- A list is returned whole, up to MAX_ROWS rows, if the request does not ask for a page.
- An item has its category and its location as objects, too, beside their ids.

The routes of webhooks stay as they are, because both systems agree there.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeAlias
from uuid import UUID

import orjson
from pydantic import BaseModel, ValidationError
from yarl import URL

from service.api.call import Call, Reply
from service.api.counts import counted_once
from service.api.paging import MAX_LIMIT, Page
from service.api.routes import Route
from service.api.slices import in_slices
from service.platform.queries import load

_SQL = load("node_clients")
MAX_ROWS = 10_000
_AREAS = frozenset({"auth", "users", "items", "locations", "categories", "transfers", "checkouts"})
_WAYS_TO_PAGE = frozenset({"skip", "limit", "cursor"})

Handler: TypeAlias = Callable[[Call[Any, Any]], Awaitable[Reply]]


def adapt(routes: Iterable[Route]) -> tuple[Route, ...]:
    """The routes in the form that clients of the Node system expect."""
    return tuple(_adapt(route) if _area(route) in _AREAS else route for route in routes)


def _area(route: Route) -> str:
    return route.path.split("/")[1]


def _adapt(route: Route) -> Route:
    handler = _whole(route) if issubclass(route.query, Page) else route.handler

    async def adapted(call: Call[Any, Any]) -> Reply:
        reply = await handler(call)
        body = reply.body
        if _area(route) == "items":
            await _name_places(call, body)
        if isinstance(body, list):
            # There may be MAX_ROWS rows. Each is made and serialised by itself, so that other
            # requests have their turn in between.
            return replace(reply, body=await in_slices(body, _written))
        return replace(reply, body=_with_underscored_ids(body))

    # If a location or a category is renamed, the answers of its items change, and their ETags do
    # not.
    return replace(route, handler=adapted, takes_unknown_parameters=True, shows_more=_area(route) == "items")


def _whole(route: Route) -> Handler:
    """The handler of a list. It returns all rows if the request names no page. It reads them page
    by page, so that other requests have their turn between two pages."""

    async def handler(call: Call[Any, Any]) -> Reply:
        if not _WAYS_TO_PAGE.isdisjoint(call.request.query):
            return await route.handler(call)
        with counted_once():
            return await _all_pages(route, call)

    return handler


async def _all_pages(route: Route, call: Call[Any, Any]) -> Reply:
    rows: list[Any] = []
    query = _first_page(route.query, call)
    while True:
        reply = await route.handler(replace(call, query=query))
        rows += reply.body
        following = _next(reply)
        if following is None or len(rows) >= MAX_ROWS:
            return replace(reply, body=rows, headers=_without_link(reply.headers))
        query = route.query.model_validate(dict(following.query))


def _first_page(model: type[BaseModel], call: Call[Any, Any]) -> BaseModel:
    given = {name: text for name, text in call.request.query.items() if name in model.model_fields}
    largest = {**given, "limit": str(MAX_LIMIT)}
    try:
        # With a cursor, no row is missed or shown twice while other rows come and go.
        return model.model_validate({**largest, **({"cursor": ""} if "cursor" in model.model_fields else {})})
    except ValidationError:
        return model.model_validate(largest)


def _next(reply: Reply) -> URL | None:
    """The address of the next page, from the Link header."""
    for link in reply.headers.get("Link", "").split(", "):
        address, _, relation = link.partition("; ")
        if relation == 'rel="next"':
            return URL(address.strip("<>"))
    return None


def _without_link(headers: Any) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name != "Link"}


def _with_underscored_ids(value: Any) -> Any:
    """The same value, with `_id` first in each object that has an `id`."""
    match value:
        case dict():
            inner = {name: _with_underscored_ids(member) for name, member in value.items()}
            return {"_id": inner["id"], **inner} if "id" in inner else inner
        case list() | tuple():
            return [_with_underscored_ids(member) for member in value]
        case _:
            return value


def _written(row: Any) -> orjson.Fragment:
    return orjson.Fragment(orjson.dumps(_with_underscored_ids(row)))


async def _name_places(call: Call[Any, Any], body: Any) -> None:
    """Puts `category` and `location` into the items in `body`, each as `{id, name}` or null."""
    items = [item for item in (body if isinstance(body, list) else [body]) if _is_item(item)]
    for start in range(0, len(items), MAX_LIMIT):
        await _name_some(call, items[start : start + MAX_LIMIT])


def _is_item(value: Any) -> bool:
    return isinstance(value, dict) and {"sku", "category_id", "location_id"} <= value.keys()


async def _name_some(call: Call[Any, Any], items: Sequence[dict[str, Any]]) -> None:
    ids = {UUID(item[name]) for item in items for name in ("category_id", "location_id") if item[name] is not None}
    rows = await _SQL.names.fetch(call.pool, ids=list(ids)) if ids else []
    names = {str(row["id"]): row["name"] for row in rows}
    for item in items:
        for name in ("category", "location"):
            id = item[f"{name}_id"]
            item[name] = None if id is None else {"id": id, "name": names.get(id)}
