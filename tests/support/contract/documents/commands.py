"""Executes the blocks of the documents that are commands."""

import asyncio
import re
import subprocess
import sys

from tests.support.contract.client import PASSWORD, unique
from tests.support.contract.documents.blocks import Block
from tests.support.contract.documents.scene import Scene
from tests.support.paths import ROOT
from tests.support.waiting import PATIENCE

# Commands that other tests run, and which.
NOT_RUN = {
    "make demo": "tests/e2e/test_demo.py runs the demo",
    "make test": "that is what runs here",
    "make chaos": "the faults are a part of these tests, each a few times",
    "make bench": "takes more than half an hour; tests/unit/test_bench.py and tests/integration/bench/test_scenarios.py hold its parts",
    ".venv/bin/python -m bench": "the same",
    "jossiedb serve": "the system of these tests is started with it",
    "jossiedb relay": "the system of these tests is started with it",
    "jossiedb healthcheck": "asks the default port; tests/integration/cli/test_commands.py names another",
    "docker compose": "needs a Docker engine; make check holds the file against its schema",
    "pip install": "asks a registry",
    "npm install": "asks a registry",
}


async def run_bash(scene: Scene, block: Block) -> None:
    """Each curl command must be answered with 2xx. Its placeholders are filled in."""
    if any(block.text.startswith(command) for command in NOT_RUN):
        return
    assert "curl" in block.text, f"{block} is not known how to run"
    scene.skip_unless("curl")
    assert scene.admin.user is not None
    text = block.text.replace("http://localhost:3002", scene.system.address)
    if "/auth/" in text:
        # The command may end sessions, so it gets a user of its own.
        text = await _as_somebody_new(scene, text)
    text = text.replace("<token>", scene.admin.user.token).replace("<new>", unique("documented"))
    if "<item>" in text:
        text = await _with_an_item(scene, text)
    if "/webhooks/:id" in text:
        ears, event_id = await scene.failed()
        text = text.replace("/webhooks/:id", f"/webhooks/{ears.id}").replace(":eventId", event_id)
        # The positions of the log differ in each run.
        text = re.sub(r"\?after=[0-9a-f-]+&wait=\d+", "?after=earliest", text)
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


async def _as_somebody_new(scene: Scene, text: str) -> str:
    name = unique("documented")
    user = {"username": name, "email": f"{name}@example.org", "password": PASSWORD}
    await scene.admin.post("/users", user, status=201)
    signed_in = await scene.admin.as_user(None).post("/auth/login", {"username": name, "password": PASSWORD})
    text = text.replace("<username>", name).replace("<password>", PASSWORD)
    return text.replace("<token>", signed_in["token"]).replace("<refreshToken>", signed_in["refreshToken"])


async def _with_an_item(scene: Scene, text: str) -> str:
    """With a waiting transfer and an active checkout, if the command needs one."""
    here, there = await scene.admin.location(), await scene.admin.location()
    item = (await scene.admin.item(location_id=here))["id"]
    if "/transfers/:id" in text:
        wanted = {"item_id": item, "from_location_id": here, "to_location_id": there, "quantity": 1}
        made = await scene.admin.post("/transfers", wanted, status=201)
        text = text.replace("/transfers/:id", f"/transfers/{made['id']}")
    if "/checkouts/:id" in text:
        made = await scene.admin.post("/checkouts/checkout", {"item_id": item, "quantity": 1}, status=201)
        text = text.replace("/checkouts/:id", f"/checkouts/{made['id']}")
    return text.replace("<item>", item).replace("<from>", here).replace("<to>", there)


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
