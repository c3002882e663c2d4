"""Every example in README.md and docs/ is executed: against the running system, or on what it
delivered."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.support.contract.client import Client
from tests.support.contract.documents import commands, objects, programs
from tests.support.contract.documents.blocks import BLOCKS, Block
from tests.support.contract.documents.scene import Scene
from tests.support.contract.ears import Listen
from tests.support.contract.system import System
from tests.support.programs import SkipUnless

# Blocks that no test executes, and why.
NOT_EXECUTED = {
    "text": "output, or a drawing",
    "mermaid": "a drawing; the states are held against the database by the tests of their features",
}

RUNNERS: dict[str, Callable[[Scene, Block], Awaitable[None]]] = {
    "bash": commands.run_bash,
    "command": commands.run_command,
    "json": objects.run_json,
    "javascript": programs.run_javascript,
    "python": programs.run_python,
    "go": programs.run_go,
    "php": programs.run_php,
    "ruby": programs.run_ruby,
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
