"""An API as a process, whose admin has signed in."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from tests.support.command_line import served_address
from tests.support.waiting import PATIENCE, until

ADMIN, PASSWORD = "admin", "a-password-for-tests"


@dataclass(frozen=True)
class Api:
    """The started API, and the token of its admin."""

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
async def serving(log: Path, *service: str) -> AsyncIterator[Api]:
    """`serve` on a free port, run by the command `service`. Its admin exists and signs in. It ends
    with the context."""
    with log.open("wb") as file:
        process = await asyncio.create_subprocess_exec(*service, "serve", "--port", "0", stdout=file, stderr=file)
    try:

        async def ready() -> str:
            assert process.returncode is None, log.read_text()
            return served_address(log)

        address = await until(ready, "the API is ready")
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
