"""The started system as the contract's tests see it: HTTP, and users that the command line made. Nothing else."""

import asyncio
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from multidict import CIMultiDict

from tests.support.relay.processes import PATIENCE, Arrival, Receiver

ROOT = Path(__file__).resolve().parents[3]
PASSWORD = "a-password-for-tests"
ROLES = ("admin", "supervisor", "foreman", "worker", "personnel")
NOBODY = "nobody"
UNKNOWN_ID = "0198c0de-7a11-7c3e-9f00-5b7d3c2a1e10"
_numbers = itertools.count(1)


def unique(prefix: str) -> str:
    """A name that no other test of this system has."""
    return f"{prefix}-{os.getpid()}-{next(_numbers)}"


@dataclass(frozen=True)
class User:
    """Somebody who has signed in."""

    id: str
    username: str
    role: str
    token: str
    session_id: str


@dataclass(frozen=True)
class Answer:
    """What the API answered. `body` is the parsed JSON, or None where there is no content."""

    status: int
    headers: CIMultiDict[str]
    body: Any

    def problem(self, status: int, *pointers: str) -> dict[str, Any]:
        """The body of a refusal, which has the form of one. With `pointers` it names just these fields."""
        assert self.status == status, f"{self.status} instead of {status}: {self.body}"
        assert self.headers["Content-Type"].startswith("application/problem+json")
        assert self.body["status"] == status
        assert self.body["type"]
        assert self.body["title"]
        assert self.body["detail"]
        assert self.body["error"] == self.body["detail"]
        if pointers:
            assert {error["pointer"] for error in self.body["errors"]} == set(pointers), self.body
        found: dict[str, Any] = self.body
        return found


@dataclass(frozen=True)
class Client:
    """One caller of the API."""

    http: aiohttp.ClientSession
    address: str
    user: User | None = None

    @property
    def id(self) -> str:
        assert self.user is not None
        return self.user.id

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """`body`: what becomes JSON, or bytes to be sent as they are. Underscores in the names of headers are hyphens."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.user is not None:
            given.setdefault("Authorization", f"Bearer {self.user.token}")
        if body is not None:
            given.setdefault("Content-Type", "application/json")
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        async with self.http.request(
            method, f"{self.address}/api/v1{path}", data=data, headers=given, skip_auto_headers=["Content-Type"]
        ) as response:
            text = await response.read()
            is_csv = response.content_type == "text/csv"
            shown = text.decode() if is_csv else json.loads(text) if text else None
            return Answer(response.status, CIMultiDict(response.headers), shown)

    async def call(self, method: str, path: str, body: Any = None, *, status: int | None = None, **headers: str) -> Any:
        """The body of a success."""
        answer = await self.ask(method, path, body, **headers)
        wanted = answer.status < 300 if status is None else answer.status == status
        assert wanted, f"{method} {path}: {answer.status} {answer.body}"
        return answer.body

    async def get(self, path: str) -> Any:
        return await self.call("GET", path, status=200)

    async def post(self, path: str, body: Any = None, *, status: int | None = None) -> Any:
        return await self.call("POST", path, body, status=status)

    async def put(self, path: str, body: Any) -> Any:
        return await self.call("PUT", path, body, status=200)

    async def delete(self, path: str) -> None:
        assert await self.call("DELETE", path, status=204) is None

    def as_user(self, user: User | None) -> "Client":
        return Client(self.http, self.address, user)

    async def sign_in(self, username: str, password: str = PASSWORD) -> "Client":
        login = {"username": username, "password": password}
        signed_in = await self.as_user(None).post("/auth/login", login)
        return self.as_user(as_user(signed_in))

    # What most tests need to begin with; each is what the contract's routes make of it.

    async def item(self, **fields: Any) -> dict[str, Any]:
        made: dict[str, Any] = await self.post("/items", {"name": unique("item"), "quantity": 20, **fields}, status=201)
        return made

    async def location(self, *foremen: str) -> str:
        made = await self.post("/locations", {"name": unique("location")}, status=201)
        if foremen:
            await self.post(f"/locations/{made['id']}/foremen", {"user_ids": list(foremen)})
        return str(made["id"])

    async def category(self, **fields: Any) -> str:
        return str((await self.post("/categories", {"name": unique("category"), **fields}, status=201))["id"])

    async def webhook(self, url: str, events: list[str], **fields: Any) -> dict[str, Any]:
        made = await self.post("/webhooks", {"url": url, "events": events, **fields}, status=201)
        webhook: dict[str, Any] = made["webhook"]
        return webhook


def as_user(signed_in: Mapping[str, Any]) -> User:
    user = signed_in["user"]
    return User(user["id"], user["username"], user["role"], signed_in["token"], signed_in["sessionId"])


@dataclass
class System:
    """`jossiedb serve` and `jossiedb relay` as processes. `environment` is theirs."""

    directory: Path
    environment: Mapping[str, str]
    address: str = ""
    _processes: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    def start(self) -> None:
        self._start("relay", "relay")
        api = self._start("api", "serve", "--port", "0")
        end = time.monotonic() + PATIENCE
        log = self.directory / "api.log"
        while not (address := _address(log)):
            assert api.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.02)
        self.address = address

    def stop(self) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(PATIENCE)

    def create_user(self, username: str, role: str) -> None:
        """By `jossiedb users create`."""
        command = ["users", "create", "--username", username, "--email", f"{username}@example.org"]
        subprocess.run(
            [sys.executable, "-m", "service", *command, "--full-name", f"The {role}", "--role", role],
            input=f"{PASSWORD}\n".encode(),
            env=self.environment,
            cwd=ROOT,
            capture_output=True,
            check=True,
        )

    def _start(self, name: str, *command: str) -> "subprocess.Popen[bytes]":
        with (self.directory / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "service", *command], stdout=log, stderr=log, env=self.environment, cwd=ROOT
            )
        self._processes.append(process)
        return process


def _address(log: Path) -> str:
    for line in log.read_text(encoding="utf-8").splitlines():
        if line.startswith("{") and (entry := json.loads(line))["event"] == "ready":
            return str(entry["address"])
    return ""


@dataclass
class Ears:
    """A webhook and the receiver that it points at."""

    client: Client
    webhook: dict[str, Any]
    receiver: Receiver

    @property
    def id(self) -> str:
        return str(self.webhook["id"])

    @property
    def secret(self) -> str:
        return str(self.webhook["secret"])

    def all(self, event_type: str | None = None, **data: Any) -> list[Arrival]:
        """What has arrived so far of this type with these values in its data."""
        return [
            arrival
            for arrival in self.receiver.arrivals
            if (event_type is None or arrival.envelope["eventType"] == event_type)
            and all(arrival.envelope["data"].get(name) == value for name, value in data.items())
        ]

    async def hear(self, event_type: str, count: int = 1, **data: Any) -> Arrival:
        """The last of `count` arrivals that fit, waited for."""
        await self.until(lambda: len(self.all(event_type, **data)) >= count)
        return self.all(event_type, **data)[-1]

    async def data(self, event_type: str, count: int = 1, **data: Any) -> dict[str, Any]:
        """The `data` of the event, waited for; JSON objects keep the order of their keys."""
        found: dict[str, Any] = (await self.hear(event_type, count, **data)).envelope["data"]
        return found

    async def until(self, condition: Callable[[], bool]) -> None:
        try:
            await self.receiver.wait_for(condition)
        except TimeoutError:
            seen = [(arrival.envelope["eventType"], arrival.envelope["data"]) for arrival in self.receiver.arrivals]
            raise AssertionError(f"what was waited for did not arrive; this did: {seen}") from None

    async def types(self) -> list[str]:
        """The types that this webhook got, oldest first, as its history says once all before now is fanned out."""
        return [event["eventType"] for event in await self.events()]

    async def events(self, **data: Any) -> list[dict[str, Any]]:
        """The history, oldest first, after everything that was committed before this call has been fanned out."""
        await self.settle()
        page = await self.client.get(f"/webhooks/{self.id}/events?limit=200")
        return [
            event
            for event in reversed(page["events"])
            if event["eventType"] != _MARK and all(event["data"].get(name) == value for name, value in data.items())
        ]

    async def settle(self) -> None:
        """Write one more event and wait for it: fan-out keeps the order, so what was before it has been decided."""
        events = self.webhook["events"]
        if _MARK not in events:
            changed = {"events": [*events, _MARK]}
            self.webhook.update((await self.client.put(f"/webhooks/{self.id}", changed))["webhook"])
        category = await self.client.category()
        await self.hear(_MARK, categoryId=category)

    async def ended(self, event_id: str, status: str) -> dict[str, Any]:
        """The event in the webhook's history, once it has this status."""
        path = f"/webhooks/{self.id}/events?limit=200"
        end = time.monotonic() + PATIENCE
        while True:
            for event in (await self.client.get(path))["events"]:
                if event["id"] == event_id and event["deliveryStatus"] == status:
                    found: dict[str, Any] = event
                    return found
            assert time.monotonic() < end, f"{event_id} did not become {status}"
            await asyncio.sleep(0.02)


_MARK = "category-created"
