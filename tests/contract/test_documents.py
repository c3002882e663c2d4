"""Every example in README.md and docs/ is executed: against the running system, or on what it delivered."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from service.events import CATALOGUE
from tests.conftest import SkipUnless
from tests.contract.conftest import Listen
from tests.contract.test_receiver import answering
from tests.contract.world import ROOT, Client, Ears, System, unique
from tests.relays import PATIENCE

LANGUAGES = Path(__file__).parent / "languages"
# Seconds. Go may have to compile its own library first.
COMPILING = 10 * PATIENCE
PACKAGES = ROOT / "tests" / "e2e" / "node" / "package.json"

# What nothing executes, and why.
NOT_EXECUTED = {
    "text": "output, or a drawing",
    "mermaid": "a drawing; the states are held against the database by the tests of their features",
}
# Commands in indented blocks, and in bash blocks, that are shown elsewhere to work.
NOT_RUN = {
    "make demo": "tests/e2e/test_demo.py runs the demo",
    "make test": "that is what runs here",
    "jossiedb serve": "the system of these tests is started with it",
    "jossiedb relay": "the system of these tests is started with it",
    "jossiedb healthcheck": "asks the default port; tests/integration/test_cli.py names another",
    "docker compose": "needs a Docker engine; make check holds the file against its schema",
    "pip install": "asks a registry",
    "npm install": "asks a registry",
}


@dataclass(frozen=True)
class Block:
    file: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.language}"


def fenced(file: Path) -> list[Block]:
    """A fence without a language has the language ``."""
    found: list[Block] = []
    lines: list[str] = []
    opened: tuple[int, str] | None = None
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        fence = re.match(r" *```(\S*)", line)
        if opened is None and fence:
            opened, lines = (number, fence[1]), []
        elif opened is not None and fence:
            found.append(Block(str(file.relative_to(ROOT)), opened[0], opened[1], "\n".join(lines)))
            opened = None
        elif opened is not None:
            lines.append(line)
    assert opened is None, f"{file}: the fence of line {opened} is not closed"
    return found


def indented(file: Path) -> list[Block]:
    """Lines of indented blocks that are commands, one block each."""
    return [
        Block(str(file.relative_to(ROOT)), number, "command", line.strip())
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
        if re.match(r" {4}(jossiedb|make|curl|docker|pip|python) ", line)
    ]


FILES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCKS = [block for file in FILES for block in [*fenced(file), *indented(file)]]


@dataclass(frozen=True)
class Scene:
    """What a block is executed with."""

    admin: Client
    system: System
    listen: Listen
    skip_unless: SkipUnless
    directory: Path

    async def failed(self) -> tuple[Ears, str]:
        """A webhook whose receiver failed, and the event that it failed on."""
        ears = await self.listen(self.admin, ["item-created"], answer=answering(500), retryPolicy={"maxRetries": 0})
        item = await self.admin.item()
        event_id = (await ears.hear("item-created", itemId=item["id"])).event_id
        await ears.ended(event_id, "failed")
        return ears, event_id

    async def delivery(self) -> dict[str, Any]:
        """A delivery, and one that was forged."""
        ears = await self.listen(self.admin, ["item-created"])
        item = await self.admin.item(name='Hydraulic “Pump” ½ 漢字 \u2028 "quoted" \\ </script>')
        arrival = await ears.hear("item-created", itemId=item["id"])
        body = arrival.body.decode()
        return {
            "body": body,
            "forged": body.replace("Pump", "Bump"),
            "headers": {name.lower(): value for name, value in arrival.headers.items()},
            "secret": ears.secret,
        }


async def run_bash(scene: Scene, block: Block) -> None:
    """Each curl command must be answered with 2xx; the reader's own values are filled in."""
    if any(block.text.startswith(command) for command in NOT_RUN):
        return
    assert "curl" in block.text, f"{block} is not known how to run"
    scene.skip_unless("curl")
    assert scene.admin.user is not None
    text = block.text.replace("http://localhost:3002", scene.system.address)
    text = text.replace("<token>", scene.admin.user.token)
    if "/webhooks/:id" in text:
        ears, event_id = await scene.failed()
        text = text.replace("/webhooks/:id", f"/webhooks/{ears.id}").replace(":eventId", event_id)
        # The positions of the log are this run's own.
        text = re.sub(r"\?after=\d+&wait=\d+", "?after=earliest", text)
    if "/items/:id" in text:
        text = text.replace("/items/:id", f"/items/{(await scene.admin.item())['id']}")
    left = re.search(r"/:\w+|<\w+>", text)
    assert left is None, f"{block}: nothing fills in {left}"
    script = f"curl() {{ command curl -sS -w '%{{stderr}}%{{http_code}}\\n' \"$@\"; }}\n{text}"
    process = await asyncio.create_subprocess_exec(
        "bash", "-ec", script, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    output, statuses = await asyncio.wait_for(process.communicate(), PATIENCE)
    assert process.returncode == 0, output
    found = statuses.decode().split()
    assert len(found) == block.text.count("curl ")
    assert all(status.startswith("2") for status in found), (found, output)


async def run_command(scene: Scene, block: Block) -> None:
    command = re.split(r" {2,}", block.text)[0]
    if any(command.startswith(known) for known in NOT_RUN):
        return
    if "users create" in command:
        name = unique("documented")
        command = re.sub(r"--username \S+ --email \S+", f"--username {name} --email {name}@example.org", command)
    assert command.startswith("jossiedb "), f"{block} is not known how to run"
    script = f'jossiedb() {{ "{sys.executable}" -m service "$@"; }}\n{command}'
    process = await asyncio.create_subprocess_exec(
        "bash",
        "-ec",
        script,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=dict(scene.system.environment),
        cwd=ROOT,
    )
    output, _ = await asyncio.wait_for(process.communicate(b"a-password-for-tests\n"), PATIENCE)
    assert process.returncode == 0, output.decode()


async def run_json(scene: Scene, block: Block) -> None:
    """An example of what is sent is sent; one of what comes must look like what comes."""
    example = json.loads(block.text)
    shape = frozenset(example)
    for keys, check in JSON_SHAPES.items():
        if keys <= shape:
            await check(scene, example)
            return
    raise AssertionError(f"{block} is like nothing that the API sends or takes: {sorted(shape)}")


async def _envelope(_: Scene, example: dict[str, Any]) -> None:
    assert list(example) == ["id", "eventType", "data", "timestamp", "attempt"]
    assert list(example["data"]) == list(CATALOGUE[example["eventType"]].model_fields)


async def _webhook(scene: Scene, example: dict[str, Any]) -> None:
    webhook = (await scene.admin.post("/webhooks", example, status=201))["webhook"]
    await scene.admin.delete(f"/webhooks/{webhook['id']}")


async def _problem(scene: Scene, example: dict[str, Any]) -> None:
    refused = await scene.admin.post("/items", {"name": " ", "quantity": -1}, status=example["status"])
    assert refused == example


async def _test_result(scene: Scene, example: dict[str, Any]) -> None:
    ears = await scene.listen(scene.admin, ["item-created"], answer=answering(example["statusCode"]))
    assert await scene.admin.post(f"/webhooks/{ears.id}/test") == example


async def _explanation(scene: Scene, example: dict[str, Any]) -> None:
    ears, event_id = await scene.failed()
    shown = await scene.admin.get(f"/events/{event_id}/explain?webhook={ears.id}")
    assert list(shown) == list(example)
    assert list(shown["event"]) == list(example["event"])
    assert list(shown["webhook"]) == list(example["webhook"])


async def _counted(scene: Scene, example: dict[str, Any]) -> None:
    ears, _ = await scene.failed()
    wanted = {"since": "2026-01-01T00:00:00Z", "dryRun": True}
    assert list(await scene.admin.post(f"/webhooks/{ears.id}/replay", wanted)) == list(example)


async def _job(scene: Scene, example: dict[str, Any]) -> None:
    ears, _ = await scene.failed()
    shown = await scene.admin.post(f"/webhooks/{ears.id}/replay", {"since": "2026-01-01T00:00:00Z"})
    assert list(shown["job"]) == list(example["job"])
    assert list(shown["job"]["request"]) == list(example["job"]["request"])


async def _stream(scene: Scene, example: dict[str, Any]) -> None:
    ears, _ = await scene.failed()
    shown = await scene.admin.get(f"/webhooks/{ears.id}/stream?after=earliest&limit=1")
    assert list(shown) == list(example)
    assert list(shown["events"][0]) == list(example["events"][0])


JSON_SHAPES: dict[frozenset[str], Callable[[Scene, dict[str, Any]], Awaitable[None]]] = {
    frozenset({"eventType", "data", "attempt"}): _envelope,
    frozenset({"url", "events"}): _webhook,
    frozenset({"type", "title", "status", "detail"}): _problem,
    frozenset({"success", "statusCode"}): _test_result,
    frozenset({"reason", "basis"}): _explanation,
    frozenset({"count", "byType"}): _counted,
    frozenset({"job"}): _job,
    frozenset({"events", "next"}): _stream,
}


async def run_javascript(scene: Scene, block: Block) -> None:
    node = scene.skip_unless("node")
    if "require('standardwebhooks')" in block.text:
        _needs_package(node, "standardwebhooks")
    argument = await scene.delivery() | {
        "block": block.text,
        "names": re.findall(r"^function (\w+)", block.text, re.MULTILINE),
        "packages": str(PACKAGES),
    }
    process = await asyncio.create_subprocess_exec(
        node, str(LANGUAGES / "run_block.js"), json.dumps(argument), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    output, errors = await asyncio.wait_for(process.communicate(), PATIENCE)
    assert process.returncode == 0, errors.decode()
    verdicts = json.loads(output)
    assert verdicts, f"{block} declares nothing that can be run"
    assert all(verdict == [True, False] for verdict in verdicts), verdicts


def _needs_package(node: str, name: str) -> None:
    script = f"require('node:module').createRequire({json.dumps(str(PACKAGES))}).resolve('{name}')"
    if subprocess.run([node, "-e", script], capture_output=True, check=False).returncode:
        pytest.skip(f"npm's {name} is not installed; run: npm ci --prefix {PACKAGES.parent.relative_to(ROOT)}")


async def run_python(scene: Scene, block: Block) -> None:
    names: dict[str, Any] = {}
    exec(block.text, names)  # it is ours, from docs/
    declared = re.findall(r"^def (\w+)\(([^)]*)\)", block.text, re.MULTILINE)
    assert declared, f"{block} declares nothing that can be run"
    for name, parameters in declared:
        wants = [parameter.partition(":")[0].strip() for parameter in parameters.split(",")]
        if wants == ["body", "signature", "secret"]:
            sent = await scene.delivery()
            signature = sent["headers"]["x-webhook-signature"]
            assert names[name](sent["body"].encode(), signature, sent["secret"])
            assert not names[name](sent["forged"].encode(), signature, sent["secret"])
        elif wants == ["base", "webhook_id", "token", "after", "handle"]:
            await _pull(scene, names[name])
        else:
            raise AssertionError(f"{block}: {name}({parameters}) is not known how to run")


async def _pull(scene: Scene, pull: Callable[..., None]) -> None:
    """A function that fetches for ever, ended by its handler."""
    ears, event_id = await scene.failed()
    assert scene.admin.user is not None
    base, token = f"{scene.system.address}/api/v1", scene.admin.user.token
    seen = []

    class Enough(Exception):
        pass

    def handle(event: dict[str, Any]) -> None:
        seen.append(event["id"])
        if event["id"] == event_id:
            raise Enough

    with pytest.raises(Enough):
        await asyncio.wait_for(asyncio.to_thread(pull, base, ears.id, token, "earliest", handle), PATIENCE)
    assert seen[-1] == event_id


async def run_go(scene: Scene, block: Block) -> None:
    go = scene.skip_unless("go")
    # It verifies in a package of its own; a program is one package.
    assert block.text.startswith("package webhook\n")
    (scene.directory / "block.go").write_text(
        block.text.replace("package webhook", "package main", 1), encoding="utf-8"
    )
    shutil.copy(LANGUAGES / "run_block.go", scene.directory / "main.go")
    await _verify(scene, go, "run", "block.go", "main.go")


async def run_php(scene: Scene, block: Block) -> None:
    (scene.directory / "block.php").write_text(block.text, encoding="utf-8")
    await _verify(scene, scene.skip_unless("php"), str(LANGUAGES / "run_block.php"), "block.php")


async def run_ruby(scene: Scene, block: Block) -> None:
    (scene.directory / "block.rb").write_text(block.text, encoding="utf-8")
    await _verify(scene, scene.skip_unless("ruby"), str(LANGUAGES / "run_block.rb"), "block.rb")


async def _verify(scene: Scene, *command: str) -> None:
    """A program that is given a genuine and a forged delivery, and prints what each of its functions says of them."""
    process = await asyncio.create_subprocess_exec(
        *command,
        json.dumps(await scene.delivery()),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=scene.directory,
        env={**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=mod", "GO111MODULE": "off"},
    )
    output, errors = await asyncio.wait_for(process.communicate(), COMPILING)
    assert process.returncode == 0, errors.decode()
    assert json.loads(output) == [[True, False], [True, False]], errors.decode()


RUNNERS: dict[str, Callable[[Scene, Block], Awaitable[None]]] = {
    "bash": run_bash,
    "command": run_command,
    "json": run_json,
    "javascript": run_javascript,
    "python": run_python,
    "go": run_go,
    "php": run_php,
    "ruby": run_ruby,
}


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language in RUNNERS], ids=str)
async def test_an_example_runs(
    block: Block, admin: Client, system: System, listen: Listen, skip_unless: SkipUnless, tmp_path: Path
) -> None:
    await RUNNERS[block.language](Scene(admin, system, listen, skip_unless, tmp_path), block)


def test_every_block_is_executed_or_excepted() -> None:
    unknown = [str(block) for block in BLOCKS if block.language not in RUNNERS.keys() | NOT_EXECUTED.keys()]
    assert unknown == [], "give the block a language that is executed, or mark it as output: ```text"
    assert len([block for block in BLOCKS if block.language in RUNNERS]) > 10
