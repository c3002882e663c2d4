"""Adds users, and an inventory if there is none."""

from dataclasses import dataclass

from service.api.call import ROLES
from service.auth.commands import NewUser, create_user
from service.auth.passwords import Passwords
from service.demo.client import Api, Refused
from service.demo.inventory import CATEGORIES, ITEMS, LOCATIONS
from service.platform.db import Pool
from service.platform.errors import Conflict, StartupError
from service.platform.queries import load
from service.records import Origin

_SQL = load("demo")
_DOMAIN = "demo.example"


@dataclass(frozen=True, slots=True)
class DemoUser:
    username: str
    password: str


USERS = tuple(DemoUser(role, f"demo-{role}-1") for role in ROLES)
ADMIN, SUPERVISOR = USERS[0], USERS[1]


async def seed_users(pool: Pool) -> None:
    """Adds a user for each role, named after the role. Raises StartupError on a database that
    others use, because everybody knows these passwords."""
    async with pool.acquire() as connection:
        if await _SQL.belongs_to_others.fetchval(connection, domain=f"%@{_DOMAIN}"):
            raise StartupError("this database has users that are not the demo's; give the demo a database of its own")
    passwords = Passwords()
    for user in USERS:
        new = NewUser(
            user.username, f"{user.username}@{_DOMAIN}", f"Demo {user.username}", user.password, role=user.username
        )
        try:
            await create_user(pool, passwords, Origin(), new)
        except Conflict:
            pass  # kept from an earlier run


async def sign_in(api: Api) -> dict[str, Api]:
    """A client for each demo user, by name. Raises StartupError if a password was changed."""
    clients = {}
    for user in USERS:
        try:
            clients[user.username] = await api.signed_in(user.username, user.password)
        except Refused as error:
            raise StartupError(
                f"the demo's user {user.username} cannot sign in ({error.status}): its password was changed; "
                "set JOSSIEDB_DATA_DIR to another place for a fresh demo"
            ) from None
    return clients


async def seed_inventory(admin: Api) -> int:
    """Adds the inventory through the API, unless there are items. Returns the number of items."""
    if await admin.get("/items?limit=1"):
        return 0
    # An earlier run may have ended half-way.
    locations = {row["name"]: row["id"] for row in await admin.get("/locations?limit=200")}
    for name, address in LOCATIONS:
        if name not in locations:
            locations[name] = (await admin.post("/locations", {"name": name, "address": address}))["id"]
    categories = {row["name"]: row["id"] for row in await admin.get("/categories?limit=200")}
    for name, parent in CATEGORIES:
        if name not in categories:
            body = {"name": name, "parent_id": categories[parent] if parent else None}
            categories[name] = (await admin.post("/categories", body))["id"]
    for name, sku, quantity, minimum, category, location in ITEMS:
        body = {
            "name": name,
            "sku": sku,
            "quantity": quantity,
            "min_quantity": minimum,
            "category_id": categories[category],
            "location_id": locations[LOCATIONS[location][0]],
        }
        await admin.post("/items", body)
    return len(ITEMS)
