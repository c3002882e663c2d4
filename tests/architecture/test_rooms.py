"""Facts about the packages in service/: a contract lists each module, and no route runs SQL."""

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.paths import ROOT

SERVICE = ROOT / "service"
# service/api is left out: HTTP itself stores idempotent answers, and looks up names for clients of
# the Node system.
FEATURES = sorted(path for path in SERVICE.rglob("*.py") if path.relative_to(SERVICE).parts[0] != "api")
RUNS = {"acquire", "cursor", "execute", "executemany", "fetch", "fetchrow", "fetchval", "transaction"}


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module=str(module), names=names):
                yield from (f"{module}.{name.name}" for name in names)
            case ast.Import(names=names):
                yield from (name.name for name in names)


def _is_of_routes(tree: ast.Module) -> bool:
    return not {"service.api.call.Call", "service.api.routes.route"}.isdisjoint(_imported(tree))


def _sql(tree: ast.Module) -> list[str]:
    """Imports and calls that only commands and reads may have."""
    found = [name for name in _imported(tree) if name.startswith("service.platform.queries.")]
    found += [name for name in _imported(tree) if name in {"asyncpg", "service.api.counts.count"}]
    return found + [
        f"line {node.lineno}: {node.func.attr}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in RUNS
    ]


ROUTES = [path for path in FEATURES if _is_of_routes(ast.parse(path.read_text()))]


def test_routes_are_where_their_name_says() -> None:
    names = {str(path.relative_to(SERVICE)) for path in ROUTES} - {"server/app.py"}
    assert len(names) > 10
    assert {name for name in names if not name.removesuffix(".py").endswith("routes")} == set()


@pytest.mark.parametrize("path", ROUTES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_route_runs_sql(path: Path) -> None:
    assert _sql(ast.parse(path.read_text())) == []


@pytest.mark.parametrize(
    "text",
    [
        "from service.platform.queries import load",
        "import asyncpg",
        "from service.api.counts import count",
        "async def get(call):\n    await load('x').get.fetchrow(call.pool)",
        "async def get(call):\n    async with call.pool.acquire() as connection:\n        pass",
    ],
)
def test_the_search_for_what_routes_may_not_do_finds_it(text: str) -> None:
    assert _sql(ast.parse(text))


def test_a_contract_lists_the_modules_of_each_package_of_the_service() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = [one for one in settings["tool"]["importlinter"]["contracts"] if one["type"] == "layers"]
    listed = {container for one in contracts if one.get("exhaustive") for container in one["containers"]}
    packages = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for path in SERVICE.rglob("__init__.py")
        if len(list(path.parent.glob("*.py"))) > 2
    }
    assert packages - listed == set(), "pyproject.toml has no contract that lists the modules of these"
