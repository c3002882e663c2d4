"""The system, clients and deliveries that the blocks of the documents are executed with."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.contract.client import Client
from tests.support.contract.ears import Ears, Listen, answering
from tests.support.contract.system import System
from tests.support.programs import SkipUnless

OWN_SECRET = "what it had: abcdefghijklmnop"


@dataclass(frozen=True)
class Scene:
    """The system, its clients, and a directory for programs."""

    admin: Client
    system: System
    listen: Listen
    skip_unless: SkipUnless
    directory: Path

    async def failed(self) -> tuple[Ears, str]:
        """A webhook whose receiver failed, and the id of the event that failed."""
        ears = await self.listen(self.admin, ["item-created"], answer=answering(500), retryPolicy={"maxRetries": 0})
        item = await self.admin.item()
        event_id = (await ears.hear("item-created", itemId=item["id"])).event_id
        await ears.ended(event_id, "failed")
        return ears, event_id

    async def deliveries(self) -> list[dict[str, Any]]:
        """A delivery with a generated secret, and one with a secret that its receiver already
        had."""
        return [await self.delivery(), await self.delivery(secret=OWN_SECRET)]

    async def delivery(self, **fields: Any) -> dict[str, Any]:
        """A delivery, and a forged one. `fields` are those of its webhook."""
        ears = await self.listen(self.admin, ["item-created"], **fields)
        item = await self.admin.item(name='Hydraulic “Pump” ½ 漢字 \u2028 "quoted" \\ </script>')
        arrival = await ears.hear("item-created", itemId=item["id"])
        body = arrival.body.decode()
        return {
            "body": body,
            "forged": body.replace("Pump", "Bump"),
            "headers": {name.lower(): value for name, value in arrival.headers.items()},
            "secret": ears.secret,
        }
