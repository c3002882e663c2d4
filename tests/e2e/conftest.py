"""The whole system as processes: an API on a free port, two relays, a database of the test's own, and Node where it is installed."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest

from service.platform.settings import Settings
from tests.conftest import SkipUnless
from tests.support.relay.processes import PATIENCE, Relays

ROOT = Path(__file__).resolve().parents[2]
NODE_DIR = Path(__file__).parent / "node"
ADMIN, PASSWORD = "admin", "a-password-for-tests"


@dataclass(frozen=True)
class Api:
    """The started API, and its admin's client."""

    address: str
    token: str
    http: aiohttp.ClientSession
    process: asyncio.subprocess.Process

    async def call(
        self, method: str, path: str, body: dict[str, Any] | None = None, more_headers: Mapping[str, str] | None = None
    ) -> Any:
        headers = {"Authorization": f"Bearer {self.token}", **(more_headers or {})}
        async with self.http.request(method, f"{self.address}/api/v1{path}", json=body, headers=headers) as response:
            assert response.ok, f"{method} {path}: {response.status} {await response.text()}"
            return await response.json() if response.status != 204 else None

    async def webhook(self, url: str, events: list[str], **more: Any) -> dict[str, Any]:
        created: dict[str, Any] = (await self.call("POST", "/webhooks", {"url": url, "events": events, **more}))[
            "webhook"
        ]
        return created


@asynccontextmanager
async def line_printer(
    *command: str, **environment: str
) -> AsyncIterator[tuple[asyncio.subprocess.Process, dict[str, Any]]]:
    """A program that prints JSON lines, and the first of them, which says where it listens."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, env={**os.environ, **environment}, cwd=ROOT
    )
    assert process.stdout is not None
    try:
        first = await asyncio.wait_for(process.stdout.readline(), PATIENCE)
        assert first, f"{command} ended with {await process.wait()}"
        yield process, json.loads(first)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


@pytest.fixture
async def api(settings: Settings, tmp_path: Path) -> AsyncIterator[Api]:
    """`jossiedb serve` on a free port, with an admin made by `jossiedb users create` who has signed in."""
    make_user = [
        "users",
        "create",
        "--username",
        ADMIN,
        "--email",
        "admin@example.org",
        "--full-name",
        "Ada",
        "--role",
        "admin",
    ]
    await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "service", *make_user],
        input=f"{PASSWORD}\n",
        text=True,
        check=True,
        capture_output=True,
    )
    log = tmp_path / "api.log"
    with log.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "service", "serve", "--port", "0", stdout=file, stderr=file
        )
    try:
        address = await _address(log, process)
        async with aiohttp.ClientSession() as http:
            login = {"username": ADMIN, "password": PASSWORD}
            async with http.post(f"{address}/api/v1/auth/login", json=login) as response:
                assert response.status == 200, await response.text()
                token = (await response.json())["token"]
            yield Api(address, token, http, process)
    finally:
        if process.returncode is None:  # a test may have killed it
            process.terminate()
            assert await asyncio.wait_for(process.wait(), PATIENCE) == 0, log.read_text()


async def _address(log: Path, process: asyncio.subprocess.Process) -> str:
    async with asyncio.timeout(PATIENCE):
        while True:
            for line in log.read_text(encoding="utf-8").splitlines():
                if (entry := json.loads(line))["event"] == "ready":
                    return str(entry["address"])
            assert process.returncode is None, log.read_text(encoding="utf-8")
            await asyncio.sleep(0.01)


@pytest.fixture
async def relays(
    settings: Settings, tmp_path: Path, connection: "asyncpg.Connection[asyncpg.Record]"
) -> AsyncIterator[Relays]:
    """Two relay processes that are ready."""
    running = Relays(tmp_path, connection)
    try:
        await running.start(2)
        yield running
    finally:
        await running.stop()


@pytest.fixture
def node(skip_unless: SkipUnless) -> str:
    """Node's program."""
    return skip_unless("node")


@pytest.fixture
def standard_webhooks(node: str) -> None:
    """The npm package standardwebhooks, found by what runs in NODE_DIR. No test installs it: none needs the internet."""
    found = subprocess.run(
        [node, "-e", "require.resolve('standardwebhooks')"], cwd=NODE_DIR, capture_output=True, check=False
    )
    if found.returncode:
        pytest.skip(f"npm's standardwebhooks is not installed; run: npm ci --prefix {NODE_DIR.relative_to(ROOT)}")


@pytest.fixture
def reserialise(node: str) -> Iterator["Reserialise"]:
    """One Node process for as many texts as the test has."""
    with subprocess.Popen(
        [node, NODE_DIR / "reserialise.js"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        yield Reserialise(process)
        assert process.stdin is not None
        process.stdin.close()


class Reserialise:
    """What JavaScript makes of JSON texts."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process

    def __call__(self, text: bytes, member: str | None = None) -> bytes:
        """JSON.stringify(JSON.parse(text)), or of that member alone."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"text": text.hex(), "member": member}).encode() + b"\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        assert "error" not in answer, answer["error"]
        return bytes.fromhex(answer["text"])
