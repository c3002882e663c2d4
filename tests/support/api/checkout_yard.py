"""A depot with ten pumps, a site, and one caller of each role, for tests of checkouts."""

from dataclasses import dataclass
from typing import Any

from tests.support.api.caller import ROLES, Answer, Api, Caller, SignUp
from tests.support.api.outbox import stored, take_events
from tests.support.database import Connection


@dataclass(frozen=True, slots=True)
class Yard:
    """`pump` has no category. `depot` and `site` are ids of locations, and the foreman is assigned
    to neither."""

    people: dict[str, Caller]
    depot: str
    site: str
    pump: dict[str, Any]
    connection: Connection

    @property
    def admin(self) -> Caller:
        return self.people["admin"]

    @property
    def worker(self) -> Caller:
        return self.people["worker"]

    async def ask_out(self, caller: Caller, quantity: int = 1, **more: Any) -> Answer:
        return await caller.post("/checkouts/checkout", {"item_id": self.pump["id"], "quantity": quantity, **more})

    async def check_out(self, caller: Caller, quantity: int = 1, **more: Any) -> dict[str, Any]:
        answer = await self.ask_out(caller, quantity, **more)
        assert answer.status == 201, answer.body
        return dict(answer.body)

    async def act(self, caller: Caller, checkout: dict[str, Any], action: str, **body: Any) -> Answer:
        return await caller.ask("POST", f"/checkouts/{checkout['id']}/{action}", body or None)

    async def item(self, item_id: str | None = None) -> Any:
        return (await self.admin.get(f"/items/{item_id or self.pump['id']}")).body

    async def assign_foreman(self, location_id: str) -> None:
        user_id = str(self.people["foreman"].token.user_id)
        answer = await self.admin.post(f"/locations/{location_id}/foremen", {"user_id": user_id})
        assert answer.status == 200, answer.body
        await take_events(self.connection)

    def updated(self, left: int, **changes: tuple[Any, Any]) -> tuple[str, str]:
        """The item-updated event of the pump."""
        by_field = {name: {"from": old, "to": new} for name, (old, new) in changes.items()}
        return stored(
            "item-updated",
            itemId=self.pump["id"],
            name=self.pump["name"],
            sku=self.pump["sku"],
            quantity=left,
            location_id=self.depot,
            category_id=None,
            changes=by_field,
        )


async def open_yard(api: Api, sign_up: SignUp, connection: Connection) -> Yard:
    people = {role: Caller(api, await sign_up(role)) for role in ROLES}
    depot, site = [(await people["admin"].make("/locations", name=name))["id"] for name in ("Depot", "Site")]
    pump = await people["admin"].make("/items", name="Pump", sku="HP-1", quantity=10, min_quantity=0, location_id=depot)
    await take_events(connection)
    return Yard(people, depot, site, pump, connection)
