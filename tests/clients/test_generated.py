"""Clients that the usual generators make from the documents are complete, fit their types, and
work.

With each of them, a program creates a webhook as the guide does, reads its secret, sends back the
webhook that it got, and pages through a list.
"""

import asyncio
import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from service.events.catalogue import CATALOGUE
from tests.support.api.caller import Api, SignUp
from tests.support.paths import TESTS
from tests.support.programs import SkipUnless
from tools.make_documents import DOCS

PROGRAMS = Path(__file__).parent / "programs"
PACKAGES = TESTS / "e2e" / "node" / "package.json"
OPENAPI, ASYNCAPI = DOCS / "openapi.json", DOCS / "asyncapi.json"
# In seconds. A busy machine takes its time to compile.
PATIENCE = 240


async def _run(*command: str | Path, cwd: Path | None = None, environment: dict[str, str] | None = None) -> str:
    process = await asyncio.create_subprocess_exec(
        *map(str, command),
        cwd=cwd,
        env={**os.environ, **(environment or {})},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), PATIENCE)
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0, output.decode()
    return output.decode()


@pytest.fixture
async def packages(node: str) -> Path:
    """The folder of npm's packages, which `npm ci` or NODE_PATH has filled."""
    script = f"""
    try {{ console.log(require('node:module').createRequire({json.dumps(str(PACKAGES))}).resolve('typescript/package.json')); }}
    catch {{ console.log(''); }}
    """
    found = (await _run(node, "-e", script)).strip()
    folder = Path(found).parents[1] if found else None
    if folder is None or not (folder / "openapi-typescript").is_dir():
        pytest.skip(f"npm's packages are not installed; run: npm ci --prefix {PACKAGES.parent}")
    return folder


@pytest.fixture
async def project(packages: Path, tmp_path: Path) -> Path:
    """A folder that TypeScript compiles."""
    shutil.copy(PROGRAMS / "tsconfig.json", tmp_path)
    (tmp_path / "package.json").write_text('{"name": "project", "private": true, "type": "commonjs"}')
    (tmp_path / "node_modules").symlink_to(packages)
    return tmp_path


async def _compile(node: str, project: Path, program: str) -> None:
    shutil.copy(PROGRAMS / program, project)
    await _run(node, "node_modules/typescript/bin/tsc", "-p", ".", cwd=project)


async def _check(
    api: Api, sign_up: SignUp, command: Sequence[str | Path], environment: dict[str, str] | None = None
) -> None:
    """Run a program, and compare its output with the API."""
    admin = await sign_up("admin")
    printed = json.loads(await _run(*command, str(api.make_url("/api/v1")), admin, environment=environment))
    async with api.get("/api/v1/webhooks", headers=admin.headers) as answer:
        (webhook,) = (await answer.json())["webhooks"]
    assert printed["secret"].startswith("whsec_")
    for shown in (printed["put"], printed["again"]):
        for name in ("id", "url", "events", "active", "filters"):
            assert shown[name] == webhook[name]
        assert shown["retryPolicy"] == {"maxRetries": 3, "retryDelay": 5000}
    assert webhook["filters"]["minStockThreshold"] == 5
    assert printed["names"] == [f"Pump {number}" for number in range(5)]


async def test_what_openapi_typescript_makes_compiles_and_works(
    api: Api, sign_up: SignUp, node: str, project: Path
) -> None:
    await _run(node, "node_modules/openapi-typescript/bin/cli.js", OPENAPI, "-o", "schema.d.ts", cwd=project)
    await _compile(node, project, "with_fetch.ts")
    await _check(api, sign_up, [node, project / "out" / "with_fetch.js"])


async def test_what_hey_api_makes_compiles_and_works(api: Api, sign_up: SignUp, node: str, project: Path) -> None:
    await _run(
        node, "node_modules/@hey-api/openapi-ts/bin/run.js", "-i", OPENAPI, "-o", "client", "--no-log-file", cwd=project
    )
    await _compile(node, project, "with_hey_api.ts")
    await _check(api, sign_up, [node, project / "out" / "with_hey_api.js"])


async def test_what_openapi_python_client_makes_fits_its_types_and_works(
    api: Api, sign_up: SignUp, skip_unless: SkipUnless, tmp_path: Path
) -> None:
    generator = skip_unless("openapi-python-client")
    # The generated client imports packages that the generator's environment has.
    python = Path(generator).with_name("python")
    made = tmp_path / "made"
    programs = f"{python.parent}{os.pathsep}{os.environ['PATH']}"
    # The generator does not know CSV, so the file to import is declared as bytes.
    config = tmp_path / "config.yml"
    config.write_text("content_type_overrides:\n  text/csv: application/octet-stream\n")
    # The generator warns if it leaves something out.
    command: list[str | Path] = [generator, "generate", "--path", OPENAPI, "--output-path", made, "--fail-on-warning"]
    await _run(*command, "--config", config, environment={"PATH": programs})
    program = shutil.copy(PROGRAMS / "with_python.py", made)
    await _run(
        *(sys.executable, "-m", "mypy", "--strict", "--no-incremental", "--python-executable", python),
        *("--config-file", "", "jossiedb_client", program),
        cwd=made,
    )
    await _check(api, sign_up, [python, program], {"PYTHONPATH": str(made)})


async def test_the_asyncapi_document_passes_its_parser(node: str, packages: Path) -> None:
    del packages
    printed: dict[str, Any] = json.loads(await _run(node, PROGRAMS / "parse_asyncapi.js", PACKAGES, ASYNCAPI))
    assert printed == {"complaints": [], "messages": list(CATALOGUE)}
