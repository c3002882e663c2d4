"""Two locations and an item, for tests of transfers."""

from dataclasses import dataclass
from typing import Any

from tests.support.api.caller import Answer, Api, Caller, SignUp


@dataclass(frozen=True, slots=True)
class Yard:
    """Two locations, and 10 pumps at the first."""

    admin: Caller
    depot: str
    site: str
    pump: dict[str, Any]

    def body(self, **fields: Any) -> dict[str, Any]:
        return {
            "item_id": self.pump["id"],
            "from_location_id": self.depot,
            "to_location_id": self.site,
            "quantity": 4,
            "reason": "for the dig",
        } | fields

    async def request(self, by: Caller | None = None, **fields: Any) -> Any:
        return await (by or self.admin).make("/transfers", **self.body(**fields))

    async def step(self, transfer: dict[str, Any], *steps: str, by: Caller | None = None) -> Answer:
        """The answer to the last step. The steps before it succeed."""
        *first, last = steps
        for step in first:
            answer = await self.admin.post(f"/transfers/{transfer['id']}/{step}", None)
            assert answer.status == 200, answer.body
        return await (by or self.admin).post(f"/transfers/{transfer['id']}/{last}", None)

    async def item(self, item_id: str | None = None) -> Any:
        return (await self.admin.get(f"/items/{item_id or self.pump['id']}")).body

    async def units(self, item_id: str | None = None) -> tuple[int, int]:
        """The units of the item, and how many of them are reserved."""
        item = await self.item(item_id)
        return item["quantity"], item["reserved_quantity"]


async def open_yard(api: Api, sign_up: SignUp, **fields: Any) -> Yard:
    admin = Caller(api, await sign_up("admin"))
    depot = (await admin.make("/locations", name="Depot"))["id"]
    site = (await admin.make("/locations", name="Site"))["id"]
    pump = {"name": "Pump", "sku": "HP-1", "quantity": 10, "min_quantity": 7, "description": "heavy"} | fields
    return Yard(admin, depot, site, await admin.make("/items", location_id=depot, **pump))
