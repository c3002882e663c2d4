"""Every statement in sql/ prepares on a real server, and some Python code uses it."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from service.platform.queries import load
from tests.support.paths import ROOT
from tests.support.postgres.shared_server import bin_dir

QUERIES = sorted((ROOT / "sql" / "queries").glob("*.sql"))
SOURCES = sorted(path for package in ("service", "relay") for path in (ROOT / package).rglob("*.py"))
SQL = re.compile(
    r"\s*(?:select\s.+|insert\s+into\s|update\s+\S+\s+set\s|delete\s+from\s|truncate\s|copy\s.+\s(?:from|to)\s|with\s+\w+\s+as\s*(?:materialized\s*)?\("
    r"|(?:create|alter|drop)\s+(?:table|index|role|user|database|schema|function|trigger|sequence|extension|view|type)\b"
    r"|(?:un)?listen\s+\w|notify\s+\w|lock\s+table\s|set\s+(?:local|session)\s|vacuum\b|analyze\s+\w+\s*;?$|explain\s.+)",
    re.IGNORECASE | re.DOTALL,
)


@pytest.mark.parametrize("path", QUERIES, ids=lambda path: path.stem)
async def test_every_statement_prepares(path: Path, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    failed = []
    for statement in load(path.stem):
        try:
            await connection.prepare(statement.sql)
        except asyncpg.PostgresError as error:
            failed.append(f"{statement.name}: {error}")
    assert not failed


def test_every_audit_runs_as_it_is_and_finds_nothing_wrong_in_a_fresh_database(database_url: str) -> None:
    scripts = sorted((ROOT / "sql" / "audit").glob("*.sql"))
    assert scripts
    for script in scripts:
        command = [str(bin_dir() / "psql"), "-Xq", "--set", "ON_ERROR_STOP=1", "-f", str(script), database_url]
        done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        assert (done.returncode, done.stderr) == (0, ""), script.name


def _loaded(call: ast.AST) -> str | None:
    """The `feature` of a call `load("feature")`."""
    match call:
        case ast.Call(func=ast.Name(id="load"), args=[ast.Constant(value=str(feature))]):
            return feature
    return None


def _used(tree: ast.Module) -> Iterator[tuple[str, str]]:
    variables = {
        target.id: feature
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and (feature := _loaded(node.value))
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id=name), attr=attribute) if name in variables:
                yield variables[name], attribute
            case ast.Attribute(value=call, attr=attribute) if feature := _loaded(call):
                yield feature, attribute


def test_every_statement_is_used_and_every_used_one_exists() -> None:
    used = {name for path in SOURCES for name in _used(ast.parse(path.read_text()))}
    there = {(path.stem, statement.name.partition(".")[2]) for path in QUERIES for statement in load(path.stem)}
    assert {"there, but not used": there - used, "used, but not there": used - there} == {
        "there, but not used": set(),
        "used, but not there": set(),
    }


def _documentation(tree: ast.Module) -> set[int]:
    """The nodes of docstrings and other bare strings."""
    return {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_there_is_no_sql_in_python(path: Path) -> None:
    tree = ast.parse(path.read_text())
    documentation = _documentation(tree)
    found = [
        f"line {node.lineno}: {node.value[:60]}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in documentation
        and SQL.match(node.value)
    ]
    assert not found


@pytest.mark.parametrize(
    ("text", "is_sql"),
    [
        ("select 1", True),
        ("  UPDATE items SET x = 1", True),
        ("insert into x", True),
        ("with a as (select 1)", True),
        ("create table x", True),
        ("listen jossiedb_wake", True),
        ("update", False),
        ("delete", False),
        ("created", False),
        ("set JWT_SECRET", False),
    ],
)
def test_the_search_for_sql_tells_it_from_words(text: str, is_sql: bool) -> None:
    assert bool(SQL.match(text)) is is_sql


# Settings, locks and objects that outlast the transaction. A pool does not reset sessions that are
# returned to it.
LASTING = re.compile(
    r"set_config\([^()]*(?:\([^()]*\)[^()]*)*,\s*false\s*\)|\bpg_(?:try_)?advisory_lock(?:_shared)?\b|\A\s*(?:listen|set|prepare|declare)\s"
    r"|\bcreate\s+temp|\bwith\s+hold\b",
    re.IGNORECASE | re.MULTILINE,
)
# The exceptions: the settings of a session, the leader's locks, which belong to the LISTEN
# connection, and the migrator's lock, which it releases.
LAST = {"session.begin", "doorbell.try_lock", "migrate.try_lock"}


def test_only_those_few_statements_leave_something_in_their_session() -> None:
    found = {
        statement.name
        for path in QUERIES
        for statement in load(path.stem)
        if LASTING.search(re.sub(r"--[^\n]*", "", statement.sql))
    }
    assert found - LAST == set()
    # The pattern matches what it is meant to match.
    assert {"session.begin", "doorbell.try_lock", "migrate.try_lock"} <= found


def test_every_audit_brings_its_search_path() -> None:
    for script in (ROOT / "sql" / "audit").glob("*.sql"):
        text = re.sub(r"^(?:--.*)?\n", "", script.read_text(), flags=re.MULTILINE)
        assert text.startswith("set search_path = public, pg_temp;\n"), script.name


def test_sessions_begin_in_one_place() -> None:
    makers = re.compile(r"asyncpg\.(?:connect|create_pool)\b")
    found = {(path.name, match[0]) for path in SOURCES for match in makers.finditer(path.read_text())}
    assert found == {("session.py", "asyncpg.connect"), ("db.py", "asyncpg.create_pool")}
