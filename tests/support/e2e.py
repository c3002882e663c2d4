"""A started API with its admin, programs that print JSON, and JSON as JavaScript writes it."""

import asyncio
import json
import os
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from tests.support.paths import ROOT, TESTS
from tests.support.waiting import PATIENCE

NODE_DIR = TESTS / "e2e" / "node"


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
async def line_printer(
    *command: str, **environment: str
) -> AsyncIterator[tuple[asyncio.subprocess.Process, dict[str, Any]]]:
    """A program that prints JSON lines, and the first line, which gives its address."""
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


class Reserialise:
    """JavaScript's text for JSON that it has parsed."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process

    def __call__(self, text: bytes, member: str | None = None) -> bytes:
        """JSON.stringify(JSON.parse(text)), or the same of one member."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"text": text.hex(), "member": member}).encode() + b"\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        assert "error" not in answer, answer["error"]
        return bytes.fromhex(answer["text"])
