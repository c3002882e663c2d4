"""Items, locations and categories over HTTP."""

from service.api.admission import part_of
from service.api.call import ADMIN, Call, Csv, Nothing, Reply, tagged
from service.api.paging import IdPage, NewestPage, cursor_page_headers
from service.api.routes import Route, route
from service.api.slices import in_slices
from service.inventory import bulk_routes, export_routes, import_routes, lists, reads
from service.inventory.commands import categories, items, locations
from service.inventory.models import (
    CategoryCreate,
    CategoryUpdate,
    Foremen,
    ItemCreate,
    ItemFilters,
    ItemMove,
    ItemQuery,
    ItemUpdate,
    LocationCreate,
    LocationUpdate,
)
from service.inventory.rules import (
    CategoryNode,
    CategoryView,
    LocationSummary,
    LocationView,
    Move,
    category_view,
    location_view,
)
from service.stock.item import ItemView

_WRITERS = (ADMIN,)


async def list_items(call: Call[Nothing, ItemQuery]) -> Reply:
    found, total = await lists.list_items(call.pool, lambda: part_of(call), call.user, call.query)
    keys = [lists.place_of(item, call.query.order) for item in found]
    return Reply([item.view for item in found], headers=cursor_page_headers(call.request, call.query, total, keys))


async def create_item(call: Call[ItemCreate, Nothing]) -> Reply:
    created = await items.create(call.pool, call.origin, call.body.model_dump())
    return tagged(created.view, status=201)


async def get_item(call: Call[Nothing, Nothing]) -> Reply:
    item = await reads.get_item(call.pool, call.user, call.path_id())
    return tagged(item.view)


async def update_item(call: Call[ItemUpdate, Nothing]) -> Reply:
    sent = call.body.model_dump(exclude_unset=True)
    saved = await items.edit(call.pool, call.origin, call.path_id(), sent, action="update")
    return tagged(saved.view)


async def move_item(call: Call[ItemMove, Nothing]) -> Reply:
    sent = call.body.model_dump()
    saved = await items.edit(call.pool, call.origin, call.path_id(), sent, action="move")
    return tagged(saved.view)


async def delete_item(call: Call[Nothing, Nothing]) -> Reply:
    await items.delete(call.pool, call.origin, call.path_id())
    return Reply(status=204)


async def location_summary(call: Call[Nothing, Nothing]) -> Reply:
    return Reply(await reads.location_summary(call.pool, call.user, call.path_id()))


async def location_history(call: Call[Nothing, NewestPage]) -> Reply:
    found, keys, total = await reads.location_history(call.pool, call.user, call.path_id(), call.query)
    return Reply(found, headers=cursor_page_headers(call.request, call.query, total, keys))


async def list_locations(call: Call[Nothing, IdPage]) -> Reply:
    found, total = await reads.list_locations(call.pool, call.user, call.query)
    return Reply(
        await in_slices(found, location_view),
        headers=cursor_page_headers(call.request, call.query, total, [location.id for location in found]),
    )


async def create_location(call: Call[LocationCreate, Nothing]) -> Reply:
    created = await locations.create(call.pool, call.origin, call.body.model_dump())
    return tagged(location_view(created), status=201)


async def get_location(call: Call[Nothing, Nothing]) -> Reply:
    return tagged(location_view(await reads.get_location(call.pool, call.user, call.path_id())))


async def update_location(call: Call[LocationUpdate, Nothing]) -> Reply:
    sent = call.body.model_dump(exclude_unset=True)
    return tagged(location_view(await locations.edit(call.pool, call.origin, call.path_id(), sent)))


async def delete_location(call: Call[Nothing, Nothing]) -> Reply:
    await locations.delete(call.pool, call.origin, call.path_id())
    return Reply(status=204)


async def add_foremen(call: Call[Foremen, Nothing]) -> Reply:
    return tagged(location_view(await locations.add_foremen(call.pool, call.origin, call.path_id(), call.body.all())))


async def remove_foreman(call: Call[Nothing, Nothing]) -> Reply:
    await locations.remove_foreman(call.pool, call.origin, call.path_id(), call.path_id("user_id"))
    return Reply(status=204)


async def list_categories(call: Call[Nothing, IdPage]) -> Reply:
    found, total = await reads.list_categories(call.pool, call.query)
    return Reply(
        [category_view(category) for category in found],
        headers=cursor_page_headers(call.request, call.query, total, [category.id for category in found]),
    )


async def category_tree(call: Call[Nothing, Nothing]) -> Reply:
    return Reply(await reads.category_tree(call.pool))


async def create_category(call: Call[CategoryCreate, Nothing]) -> Reply:
    created = await categories.create(call.pool, call.origin, call.body.model_dump())
    return tagged(category_view(created), status=201)


async def get_category(call: Call[Nothing, Nothing]) -> Reply:
    return tagged(category_view(await reads.get_category(call.pool, call.path_id())))


async def update_category(call: Call[CategoryUpdate, Nothing]) -> Reply:
    sent = call.body.model_dump(exclude_unset=True)
    return tagged(category_view(await categories.edit(call.pool, call.origin, call.path_id(), sent)))


async def delete_category(call: Call[Nothing, Nothing]) -> Reply:
    await categories.delete(call.pool, call.origin, call.path_id())
    return Reply(status=204)


ROUTES: tuple[Route, ...] = (
    route("GET", "/items", list_items, "List items", query=ItemQuery, returns=list[ItemView]),
    route(
        "POST", "/items", create_item, "Create an item", body=ItemCreate, returns=ItemView, status=201, roles=_WRITERS
    ),
    route(
        "POST",
        "/items/bulk",
        bulk_routes.change_items,
        "Create, change and count many items in one transaction",
        body=bulk_routes.Bulk,
        returns=bulk_routes.BulkReply,
        roles=_WRITERS,
        # For an item that an operation names.
        refuses=(404,),
        max_body=bulk_routes.MAX_BYTES,
    ),
    route(
        "POST",
        "/items/import",
        import_routes.import_items,
        "Create and change items from a CSV file, all of its lines or none",
        body=Csv,
        query=import_routes.ImportQuery,
        returns=import_routes.ImportReport,
        roles=_WRITERS,
        refuses=(404,),
        max_body=import_routes.MAX_BYTES,
    ),
    route(
        "GET",
        "/items/export",
        export_routes.export_items,
        "Get items as a CSV file",
        query=ItemFilters,
        returns=str,
        streams="text/csv",
    ),
    route("GET", "/items/{id}", get_item, "Get an item", returns=ItemView),
    route("PUT", "/items/{id}", update_item, "Change an item", body=ItemUpdate, returns=ItemView, roles=_WRITERS),
    route("DELETE", "/items/{id}", delete_item, "Delete an item", status=204, roles=_WRITERS),
    route("PUT", "/items/{id}/location", move_item, "Move an item", body=ItemMove, returns=ItemView, roles=_WRITERS),
    route(
        "GET",
        "/items/{id}/location-summary",
        location_summary,
        "Show where there is the same item",
        returns=LocationSummary,
    ),
    route(
        "GET",
        "/items/{id}/location-history",
        location_history,
        "List where an item has been, newest first",
        query=NewestPage,
        returns=list[Move],
    ),
    route("GET", "/locations", list_locations, "List locations", query=IdPage, returns=list[LocationView]),
    route(
        "POST",
        "/locations",
        create_location,
        "Create a location",
        body=LocationCreate,
        returns=LocationView,
        status=201,
        roles=_WRITERS,
    ),
    route("GET", "/locations/{id}", get_location, "Get a location", returns=LocationView),
    route(
        "PUT",
        "/locations/{id}",
        update_location,
        "Change a location",
        body=LocationUpdate,
        returns=LocationView,
        roles=_WRITERS,
    ),
    route("DELETE", "/locations/{id}", delete_location, "Delete a location", status=204, roles=_WRITERS),
    route(
        "POST",
        "/locations/{id}/foremen",
        add_foremen,
        "Assign foremen to a location",
        body=Foremen,
        returns=LocationView,
        roles=_WRITERS,
    ),
    route(
        "DELETE",
        "/locations/{id}/foremen/{user_id}",
        remove_foreman,
        "Take a foreman off a location",
        status=204,
        roles=_WRITERS,
    ),
    route("GET", "/categories", list_categories, "List categories", query=IdPage, returns=list[CategoryView]),
    route(
        "POST",
        "/categories",
        create_category,
        "Create a category",
        body=CategoryCreate,
        returns=CategoryView,
        status=201,
        roles=_WRITERS,
    ),
    route("GET", "/categories/tree", category_tree, "Show the tree of categories", returns=list[CategoryNode]),
    route("GET", "/categories/{id}", get_category, "Get a category", returns=CategoryView),
    route(
        "PUT",
        "/categories/{id}",
        update_category,
        "Change a category",
        body=CategoryUpdate,
        returns=CategoryView,
        roles=_WRITERS,
    ),
    route("DELETE", "/categories/{id}", delete_category, "Delete a category", status=204, roles=_WRITERS),
)
