"""Programs beside ours that a test runs: receivers, Node, and others that may not be installed."""

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.support.paths import ROOT, TESTS
from tests.support.waiting import PATIENCE

NODE_DIR = TESTS / "e2e" / "node"


class SkipUnless:
    def __call__(self, program: str) -> str:
        # Debian's servers are in directories that only root has in its PATH.
        path = shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
        if path is None:
            pytest.skip(f"{program} is not installed")
        return path


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
