"""A database is restored from a backup, under relays and an API that go on or that start
afterwards: by dump, base backup to a point in time, and as files."""

import asyncio
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import asyncpg
import pytest

from service.platform.embedded.account import choose
from service.platform.settings import Settings, load_settings
from tests.support.command_line import BOSS, PASSWORD, run, serving
from tests.support.database import with_database
from tests.support.postgres.shared_server import bin_dir
from tests.support.postgres.throwaway import Throwaway
from tests.support.receivers.receiver import Receiver
from tests.support.relay.processes import Relays
from tests.support.trials.restores import IMPATIENT, Scene, base_backup, copy
from tests.support.trials.trial import Reconnecting


async def _program(name: str, *arguments: str) -> None:
    process = await asyncio.create_subprocess_exec(str(bin_dir() / name), *arguments, stderr=subprocess.PIPE)
    _, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()


async def _restore_dump(server_url: str, url: str, dump: Path) -> None:
    """As docs/BACKUP.md says: into a database beside it, which then takes its name."""
    name = urlsplit(url).path.removeprefix("/")
    admin = await asyncpg.connect(server_url)
    try:
        await admin.execute(f"create database {name}_restored template template0")
        await _program("pg_restore", "--no-owner", "-d", with_database(url, f"{name}_restored"), str(dump))
        await admin.execute(f"drop database {name} with (force)")
        await admin.execute(f"alter database {name}_restored rename to {name}")
    finally:
        await admin.close()


async def _stream(session: aiohttp.ClientSession, token: str, webhook_id: object, after: str) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {token}"}
    async with session.get(f"/api/v1/webhooks/{webhook_id}/stream", params={"after": after}, headers=headers) as answer:
        return answer.status, await answer.json()


@pytest.fixture
async def scene(settings: Settings, database_url: str, tmp_path: Path, receiver: Receiver) -> AsyncIterator[Scene]:
    async with _scene(settings, database_url, tmp_path, receiver) as scene:
        yield scene


@asynccontextmanager
async def _scene(settings: Settings, url: str, directory: Path, receiver: Receiver) -> AsyncIterator[Scene]:
    db = Reconnecting(url)
    relays = Relays(directory, db)
    try:
        yield Scene(db, relays, receiver, settings, url)
    finally:
        await relays.stop()
        db.close()


async def test_a_dump_that_is_restored_under_processes_that_go_on(
    scene: Scene, server_url: str, database_url: str, tmp_path: Path
) -> None:
    assert (await run(*BOSS, "--role", "admin", given=f"{PASSWORD}\n"))[0] == 0
    await scene.begin()
    assert scene.webhook is not None
    async with serving() as server, aiohttp.ClientSession(server.address) as session:
        signing_in = {"username": "boss", "password": PASSWORD}
        async with session.post("/api/v1/auth/login", json=signing_in) as answer:
            token = (await answer.json())["token"]
        webhook_id = scene.webhook.id
        _, kept = await _stream(session, token, webhook_id, "earliest")
        dump = tmp_path / "dump"
        await _program("pg_dump", "-Fc", "-f", str(dump), database_url)
        lost = await scene.lose()
        _, gone = await _stream(session, token, webhook_id, kept["next"])
        assert len(gone["events"]) == len(lost)
        before = await scene.epoch()
        await _restore_dump(server_url, database_url, dump)
        await scene.check(before, lost)
        assert all(relay.exit_code is None for relay in scene.relays.started)

        status, problem = await _stream(session, token, webhook_id, gone["next"])
        assert (status, "?after=earliest" in problem["detail"]) == (410, True)
        # A cursor that both pasts have goes on, over the gap.
        status, page = await _stream(session, token, webhook_id, kept["next"])
        assert (status, len(page["events"])) == (200, 3)


@pytest.fixture
def archiving(environment: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Throwaway]:
    """A server that archives its write-ahead log, so that it can be restored to a point in time."""
    with ExitStack() as ending:
        server = Throwaway()
        ending.callback(server.stop)
        archive = server.cluster.parent / "archive"
        server.configure(
            archive_mode="on",
            archive_command=f"cp %p {archive}/%f",
            restore_command=f"cp {archive}/%f %p",
            recovery_target_name="here",
            recovery_target_action="promote",
        )
        archive.mkdir(mode=0o700)
        choose(archive.parent).give(archive)
        monkeypatch.setenv("DATABASE_URL", server.start())
        server.migrate()
        yield server


async def _restart_after(server: Throwaway, change: Callable[[], None]) -> None:
    def again() -> None:
        server.pause()
        change()
        server.start()

    await asyncio.to_thread(again)


async def _start_others(scene: Scene) -> None:
    for _ in range(2):
        await scene.relays.start_changed(IMPATIENT, RELAY_POLL_INTERVAL="500")


async def _end_all(scene: Scene) -> None:
    for relay in scene.relays.started:
        relay.send(signal.SIGKILL)
        await relay.ended()
    scene.relays.started.clear()


@pytest.mark.chaos
@pytest.mark.parametrize("going_on", [True, False], ids=["under relays that go on", "and relays start after"])
async def test_a_point_in_time(archiving: Throwaway, receiver: Receiver, tmp_path: Path, going_on: bool) -> None:
    async with _scene(load_settings(), archiving.url, tmp_path, receiver) as scene:
        await scene.begin()
        backup = archiving.cluster.parent / "backup"
        await base_backup(archiving, backup)
        await scene.live()
        await scene.db.execute("select pg_create_restore_point('here')")
        lost = await scene.lose()
        before = await scene.epoch()
        if not going_on:
            await _end_all(scene)

        def restore() -> None:
            copy(backup, archiving.cluster)
            (archiving.cluster / "recovery.signal").touch()
            choose(archiving.cluster).give(archiving.cluster / "recovery.signal")

        await _restart_after(archiving, restore)
        if not going_on:
            await _start_others(scene)
        await scene.check(before, lost)


@pytest.mark.chaos
@pytest.mark.parametrize("going_on", [True, False], ids=["under relays that go on", "and relays start after"])
async def test_files_that_were_put_back(
    throwaway: Throwaway, receiver: Receiver, tmp_path: Path, going_on: bool
) -> None:
    """As a snapshot of the disk: neither the server's identifier nor its timeline shows the
    restore."""
    async with _scene(load_settings(), throwaway.url, tmp_path, receiver) as scene:
        await scene.begin()
        backup = throwaway.cluster.parent / "backup"
        await _restart_after(throwaway, lambda: copy(throwaway.cluster, backup))
        await scene.live()
        # A plain restart begins no epoch.
        assert await scene.db.fetchval("select bases = '{0}' from epoch")
        lost = await scene.lose()
        before = await scene.epoch()
        if not going_on:
            await _end_all(scene)
        await _restart_after(throwaway, lambda: copy(backup, throwaway.cluster))
        if not going_on:
            # No process is left that knows the lost past.
            await _start_others(scene)
            assert await scene.epoch() == before
            assert (await run("restored"))[0] == 0
        await scene.check(before, lost)


@pytest.mark.chaos
async def test_a_dump_and_relays_that_start_after(
    scene: Scene, server_url: str, database_url: str, tmp_path: Path
) -> None:
    await scene.begin()
    dump = tmp_path / "dump"
    await _program("pg_dump", "-Fc", "-f", str(dump), database_url)
    lost = await scene.lose()
    before = await scene.epoch()
    await _end_all(scene)
    await _restore_dump(server_url, database_url, dump)
    await _start_others(scene)
    await scene.check(before, lost)
