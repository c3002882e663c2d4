"""A database that is restored from a backup under running relays, and what must hold then."""

import asyncio
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from service.platform.embedded.account import choose
from service.platform.settings import Settings
from tests.support.postgres.audit_scripts import run_audit
from tests.support.postgres.shared_server import bin_dir
from tests.support.postgres.throwaway import Throwaway
from tests.support.receivers.receiver import Receiver
from tests.support.relay.ordered_webhooks import change, items
from tests.support.relay.processes import Relays
from tests.support.rows import Webhook, add_webhook, write_event
from tests.support.trials.trial import PATIENCE, Reconnecting
from tests.support.waiting import until

# A process that knows no past waits for those that do. In tests it waits a shorter time.
IMPATIENT = "from service.platform import epoch; epoch.GRACE_SECONDS = 1.0"


@dataclass
class Scene:
    """Relays and their webhooks on the database at `db`."""

    db: Reconnecting
    relays: Relays
    receiver: Receiver
    settings: Settings
    url: str
    webhook: Webhook | None = None
    item: UUID = field(default_factory=lambda: items(1)[0])
    # The greatest position and sequence of any past.
    position: int = 0
    number: int = 0

    async def begin(self) -> None:
        """Starts relays and lets them work on some events."""
        self.webhook = await add_webhook(self.db, self.settings, f"{self.receiver.url}/kept", ["item-created"])
        await add_webhook(
            self.db, self.settings, f"{self.receiver.url}/order", ["item-updated"], ordering="item", on_failure="block"
        )
        for _ in range(2):
            await self.relays.start_changed(IMPATIENT, RELAY_POLL_INTERVAL="500")
        await self.live()

    async def live(self, path: str = "/kept") -> list[str]:
        """Writes events and waits until all have arrived, at this path or in their order."""
        events = [str(await write_event(self.db)) for _ in range(3)]
        for number in range(2):
            await change(self.db, self.item, number)
        await self.receiver.wait_for(
            lambda: set(events) <= {seen.event_id for seen in self.receiver.arrivals if seen.path == path}
        )
        await until(self._idle, "the queues are empty", PATIENCE)
        numbers = [seen.envelope["sequence"] for seen in self.receiver.arrivals if seen.path == "/order"]
        self.number = max(self.number, *numbers)
        self.position = max(self.position, await self.db.fetchval("select position from log_head"))
        return events

    async def _idle(self) -> bool:
        return bool(
            await self.db.fetchval("select not exists (select from outbox) and not exists (select from deliveries)")
        )

    async def lose(self) -> list[str]:
        """Work after the backup, which will be lost: events, a change of the webhook's URL, and a
        beat of each relay. By its new mark, a relay then notices the restore."""
        assert self.webhook is not None
        marks = await self.db.fetchval("select array_agg(mark) from relays")
        change_url = "update webhooks set url = $2, version = version + 1 where id = $1"
        await self.db.execute(change_url, self.webhook.id, f"{self.receiver.url}/lost")
        lost = [*await self.live("/lost"), *await self.live("/lost")]

        async def beaten() -> bool:
            return not await self.db.fetchval("select exists (select from relays where mark = any ($1))", marks)

        await until(beaten, "each relay has beaten", PATIENCE)
        return lost

    async def epoch(self) -> Any:
        return await self.db.fetchval("select id from epoch")

    async def check(self, before: Any, lost: list[str]) -> None:
        """Checks that a new epoch has begun, and that everything works in it."""

        async def begun() -> bool:
            return bool(await self.epoch() != before)

        await until(begun, "a new epoch begins", PATIENCE)
        position, number = self.position, self.number
        fresh = await self.live()
        rows = await self.db.fetch("select position from events where id = any ($1::text[]::uuid[])", fresh)
        assert min(row["position"] for row in rows) > position
        later = [seen.envelope["sequence"] for seen in self.receiver.arrivals if seen.path == "/order"][-2:]
        assert min(later) > number
        assert later[1] == later[0] + 1
        assert not await self.db.fetchval(
            "select exists (select from events where id = any ($1::text[]::uuid[]))", lost
        )

        async def listed() -> bool:
            rows = await self.db.fetch("select pid from relays")
            alive = {relay.pid for relay in self.relays.started if relay.exit_code is None}
            return {row["pid"] for row in rows} == alive

        await until(listed, "all relays that live are listed, and no others", PATIENCE)
        for name in ("outbox_completeness", "order"):
            assert await run_audit(name, self.url) == []


def copy(source: Path, target: Path) -> None:
    """Copies a directory of files, with their owners."""
    shutil.rmtree(target, ignore_errors=True)
    subprocess.run(["cp", "-a", str(source), str(target)], check=True)


async def base_backup(server: Throwaway, target: Path) -> None:
    """Makes a backup of a running server with pg_basebackup."""
    account = choose(server.cluster)
    target.mkdir(mode=0o700)
    account.give(target)
    socket = Path(server.socket)
    process = await asyncio.create_subprocess_exec(
        str(bin_dir() / "pg_basebackup"),
        *(
            "-d",
            f"host={socket.parent} port={socket.suffix[1:]} user=postgres",
            "-D",
            str(target),
            "-c",
            "fast",
            "--no-sync",
        ),
        cwd="/",
        stderr=subprocess.PIPE,
        **account.subprocess_arguments(),
    )
    _, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    # The lock file of the socket, which is in the cluster.
    (target / f"{socket.name}.lock").unlink(missing_ok=True)
