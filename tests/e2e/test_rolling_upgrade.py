"""An upgrade while everything runs. Processes of the release before this version go on while
`migrate` changes the schema, and afterwards. Then processes of this version take over."""

import asyncio
import json
import signal
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import standardwebhooks
from argon2 import PasswordHasher

from service.delivery.sign import sign_data
from service.platform.settings import Settings
from tests.support.api_process import ADMIN, PASSWORD, Api, serving
from tests.support.database import Connection
from tests.support.postgres.audit_scripts import run_audit
from tests.support.receivers.receiver import Receiver
from tests.support.relay.processes import Relays
from tests.support.releases import Tree, newer_version
from tests.support.rows import Webhook, add_user, add_webhook, write_event
from tests.support.waiting import until

PAUSE_SECONDS = 0.08
# Changes that docs/RECIPES.md allows, on tables that the release's processes use all the time.
ALLOWED = """
alter table public.deliveries add column colour text not null default 'blue';
alter table public.webhooks add column colour text not null default 'blue';
alter table public.items add column colour text;
alter table public.relays add column colour text;
"""
# The release's claims read this column.
FORBIDDEN = "alter table public.deliveries rename column lost_leases to leases_lost;"


@dataclass
class System:
    """Relays, a webhook, and a writer. The writer creates items by SQL. If there is an API, it
    creates every second one through that."""

    relays: Relays
    receiver: Receiver
    webhook: Webhook
    api: Api | None = None
    api_logs: list[Path] = field(default_factory=list)
    written: list[str] = field(default_factory=list)
    stopping: bool = False

    async def write(self, connection: Connection) -> None:
        while not self.stopping:
            name = f"item {len(self.written)}"
            if self.api and len(self.written) % 2:
                await self.api.call("POST", "/items", {"name": name, "quantity": 9})
            else:
                await write_event(connection, data=json.dumps({"name": name}))
            self.written.append(name)
            await asyncio.sleep(PAUSE_SECONDS)

    async def works(self, writer: "asyncio.Task[None]", more: int = 6) -> None:
        """Wait until `more` further items exist and their events have arrived.

        Fails as soon as the writer fails, a relay crashes, or a process logs an error.
        """
        wanted = len(self.written) + more

        async def all_arrived() -> bool:
            self.check_processes()
            assert not writer.done(), writer.exception()
            if min(len(self.written), len(self.receiver.arrivals)) < wanted:
                return False
            names = {arrival.envelope["data"]["name"] for arrival in self.receiver.arrivals}
            return names.issuperset(self.written[:wanted])

        await until(all_arrived, f"{wanted} events arrive")

    def check_processes(self) -> None:
        assert {relay.exit_code for relay in self.relays.started} <= {None, 0}
        # A warning that names an error is about a statement that failed and is tried again.
        errors = [entry for entry in self._log() if entry["level"] == "error" or "error" in entry]
        assert not errors, errors

    def _log(self) -> Iterator[dict[str, Any]]:
        """The lines of all processes."""
        for relay in self.relays.started:
            yield from relay.log()
        for path in self.api_logs:
            yield from read(path)


def read(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]


async def migrate(version: Tree) -> str:
    """The output of that version's `migrate`."""
    command = version.command("service", "migrate")
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


async def add_admin(connection: Connection) -> None:
    await connection.execute(
        "update users set username = $2, password_hash = $3 where id = $1",
        await add_user(connection),
        ADMIN,
        PasswordHasher().hash(PASSWORD),
    )


@pytest.fixture
async def database_url(
    empty_database_url: str, environment: None, release: Tree, monkeypatch: pytest.MonkeyPatch
) -> str:
    """A database that the release has migrated."""
    monkeypatch.setenv("DATABASE_URL", empty_database_url)
    await migrate(release)
    return empty_database_url


@pytest.fixture
async def system(
    settings: Settings, connection: Connection, receiver: Receiver, tmp_path: Path
) -> AsyncIterator[System]:
    """Without processes, which the test starts."""
    webhook = await add_webhook(connection, settings, receiver.url, ["item-created"])
    relays = Relays(tmp_path, connection)
    try:
        yield System(relays, receiver, webhook)
    finally:
        await relays.stop()


@pytest.fixture
async def writer(system: System, database_url: str) -> AsyncIterator["asyncio.Task[None]"]:
    """The system's writer, at work until it is to stop."""
    connection = await asyncpg.connect(database_url)
    writing = asyncio.create_task(system.write(connection))
    try:
        yield writing
    finally:
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        await connection.close()


async def test_an_upgrade_rolls(
    release: Tree,
    system: System,
    writer: "asyncio.Task[None]",
    connection: Connection,
    database_url: str,
    tmp_path: Path,
) -> None:
    newer = newer_version(tmp_path / "newer", ALLOWED, "fan_out")
    webhook = f"/webhooks/{system.webhook.id}"
    await add_admin(connection)
    async with AsyncExitStack() as old_api, AsyncExitStack() as new_api:
        system.api = api = await start_api(release, system, old_api, tmp_path / "old-api.log")
        old = await system.relays.start(command=release.command("relay"))
        await system.works(writer)
        before = len(system.written)
        applied = await migrate(newer)
        assert "change_for_a_test" in applied
        assert "function fan_out" in applied
        assert len(system.written) > before
        await system.works(writer)
        # Afterwards the relay reads the webhook's row again.
        await api.call("PUT", webhook, {"retryPolicy": {"maxRetries": 5}})
        await system.works(writer)

        # An old relay may be started again, such as one that was killed.
        old += await system.relays.start(command=release.command("relay"))
        assert all(release.ran(relay.log()) for relay in old)
        await system.works(writer)
        (new,) = await system.relays.start(command=newer.command("relay"))
        assert newer.ran(new.log())
        await system.works(writer)
        for relay in old:
            relay.send(signal.SIGTERM)
            assert await relay.ended() == 0
            await system.works(writer)

        system.api = api = await start_api(newer, system, new_api, tmp_path / "new-api.log")
        await system.works(writer)
        await old_api.aclose()
        await system.works(writer)

        system.stopping = True
        await writer
        await system.relays.idle()
        system.check_processes()
        stats = (await api.call("GET", f"{webhook}/stats"))["stats"]
    await check_account(system, connection, stats)
    assert await run_audit("outbox_completeness", database_url) == []


async def start_api(version: Tree, system: System, stack: AsyncExitStack, log: Path) -> Api:
    """An API process that ends with the stack."""
    api = await stack.enter_async_context(serving(log, *version.command("service")))
    assert version.ran(read(log))
    system.api_logs.append(log)
    return api


async def check_account(system: System, connection: Connection, stats: Mapping[str, Any]) -> None:
    """Each item has its event. Each event has arrived and has one success. The log explains each
    repetition. Each request is signed."""
    rows = await connection.fetch("select id, data from events where type = 'item-created'")
    assert sorted(json.loads(row["data"])["name"] for row in rows) == sorted(system.written)
    requests = Counter(system.receiver.ids())
    assert set(requests) == {str(row["id"]) for row in rows}
    attempts = await connection.fetch("select event_id, outcome, lost_by from attempts")
    assert Counter(str(row["event_id"]) for row in attempts if row["outcome"] == "success") == dict.fromkeys(
        requests, 1
    )
    explained = {
        str(row["event_id"]) for row in attempts if row["lost_by"] or row["outcome"] in ("superseded", "retry")
    }
    assert {event for event, times in requests.items() if times > 1} <= explained
    counts = ("totalEvents", "successfulDeliveries", "successCount", "failedCount", "pendingCount")
    assert [stats[name] for name in counts] == [len(rows), len(rows), len(rows), 0, 0]
    secret = system.webhook.secret
    for arrival in system.receiver.arrivals:
        standardwebhooks.Webhook(secret).verify(arrival.body, dict(arrival.headers))
        data = json.dumps(arrival.envelope["data"], ensure_ascii=False, separators=(",", ":"))
        assert arrival.headers["X-Webhook-Signature"] == sign_data(secret, data.encode())


async def test_a_migration_that_breaks_the_release_is_found(
    release: Tree, system: System, writer: "asyncio.Task[None]", tmp_path: Path
) -> None:
    (relay,) = await system.relays.start(command=release.command("relay"))
    await system.works(writer)
    await migrate(newer_version(tmp_path / "newer", FORBIDDEN))
    with pytest.raises(AssertionError, match="lost_leases"):
        await system.works(writer)
    # By SIGTERM it would wait until it can record its results.
    relay.send(signal.SIGKILL)
