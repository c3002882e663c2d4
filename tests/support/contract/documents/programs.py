"""Executes the blocks of the documents that verify deliveries or fetch events."""

import asyncio
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.contract.documents.blocks import Block
from tests.support.contract.documents.scene import Scene
from tests.support.paths import ROOT
from tests.support.waiting import PATIENCE

LANGUAGES = Path(__file__).parent.parent / "languages"
# Seconds. Go may have to compile its own library first.
COMPILING = 10 * PATIENCE
PACKAGES = ROOT / "tests" / "e2e" / "node" / "package.json"


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
    exec(block.text, names)  # the program is ours, from docs/
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
    """A function that fetches for ever. Its handler ends it."""
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
    # The verification is in a package of its own, and a program is one package.
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
    """A program that gets a genuine and a forged delivery, and prints what each of its functions
    says about them."""
    for delivery in await scene.deliveries():
        process = await asyncio.create_subprocess_exec(
            *command,
            json.dumps(delivery),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=scene.directory,
            env={**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=mod", "GO111MODULE": "off"},
        )
        output, errors = await asyncio.wait_for(process.communicate(), COMPILING)
        assert process.returncode == 0, errors.decode()
        assert json.loads(output) == [[True, False], [True, False]], errors.decode()
