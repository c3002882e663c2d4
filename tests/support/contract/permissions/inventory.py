"""The permissions for the routes of items, locations and categories.

read items, locations (an item without location: all) | all | all | assigned locations | all | all;
write …: admin
"""

from tests.support.contract.client import unique
from tests.support.contract.permissions.table import ADMIN_ONLY, ALL_BUT_FOREMAN, SIGNED_IN, Request, Stage, row


async def item(stage: Stage) -> Request:
    location = None if stage.case == "nowhere" else await stage.location()
    item = await stage.admin.item(location_id=location)
    return Request({"id": item["id"]}, {"quantity": 3})


async def _item_to_move(stage: Stage) -> Request:
    return Request((await item(stage)).path, {"location_id": await stage.location()})


async def _new_item(stage: Stage) -> Request:
    return Request(body={"name": "Pump", "location_id": await stage.location()})


async def _new_items(stage: Stage) -> Request:
    return Request(body={"operations": [{"op": "create", "item": (await _new_item(stage)).body}]})


async def _new_file(stage: Stage) -> Request:
    return Request(body=f"name,location_id\nPump,{await stage.location()}\n".encode())


async def _new_name(stage: Stage) -> Request:
    return Request(body={"name": unique("name")})


async def _location(stage: Stage) -> Request:
    return Request({"id": await stage.location()}, {"address": "Harbour 1"})


async def _location_and_foreman(stage: Stage) -> Request:
    foreman = stage.others["foreman"].id
    location = await stage.location()
    await stage.admin.post(f"/locations/{location}/foremen", {"user_id": foreman})
    return Request({"id": location, "user_id": foreman}, {"user_id": foreman})


async def _category(stage: Stage) -> Request:
    return Request({"id": await stage.admin.category()}, {"description": "Of bronze"})


_WRITE = {"assigned": ADMIN_ONLY, "elsewhere": ADMIN_ONLY}
READ = {"assigned": SIGNED_IN, "elsewhere": ALL_BUT_FOREMAN}

TABLE = [
    row("GET /items", any=SIGNED_IN),
    row("POST /items", _new_item, **_WRITE),
    row("POST /items/bulk", _new_items, **_WRITE),
    row("POST /items/import", _new_file, **_WRITE),
    row("GET /items/export", any=SIGNED_IN),
    row("GET /items/{id}", item, nowhere=SIGNED_IN, **READ),
    row("PUT /items/{id}", item, nowhere=ADMIN_ONLY, **_WRITE),
    row("DELETE /items/{id}", item, nowhere=ADMIN_ONLY, **_WRITE),
    row("PUT /items/{id}/location", _item_to_move, nowhere=ADMIN_ONLY, **_WRITE),
    row("GET /locations", any=SIGNED_IN),
    row("POST /locations", _new_name, any=ADMIN_ONLY),
    row("GET /locations/{id}", _location, **READ),
    row("PUT /locations/{id}", _location, **_WRITE),
    row("DELETE /locations/{id}", _location, **_WRITE),
    row("POST /locations/{id}/foremen", _location_and_foreman, **_WRITE),
    row("DELETE /locations/{id}/foremen/{user_id}", _location_and_foreman, **_WRITE),
    row("GET /categories", any=SIGNED_IN),
    row("POST /categories", _new_name, any=ADMIN_ONLY),
    row("GET /categories/{id}", _category, any=SIGNED_IN),
    row("PUT /categories/{id}", _category, any=ADMIN_ONLY),
    row("DELETE /categories/{id}", _category, any=ADMIN_ONLY),
]
