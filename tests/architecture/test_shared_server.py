"""All tests share one PostgreSQL, so a test that queries the server's activity or locks names its
own database."""

import ast
from pathlib import Path

SHARED = ("pg_locks", "pg_stat_activity", "pg_prepared_xacts", "pg_stat_database")
# A process id belongs to one backend, so it needs no database.
NAMES_ITS_OWN = ("current_database()", "THIS_DATABASE", "pid = ", "backend_type = ")


def _texts(tree: ast.AST) -> list[str]:
    """Every string of a file. An f-string is one text, with the names in its braces."""
    inside = {id(part) for joined in ast.walk(tree) if isinstance(joined, ast.JoinedStr) for part in ast.walk(joined)}
    return [
        ast.unparse(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr)
        or (isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside)
    ]


def test_a_statement_about_what_the_server_does_names_its_own_database() -> None:
    loose = [
        f"{path}: {text}"
        for path in sorted(Path("tests").rglob("*.py"))
        if path.name != Path(__file__).name
        for text in _texts(ast.parse(path.read_text()))
        if any(f"from {name}" in text or f"join {name}" in text for name in SHARED)
        and not any(own in text for own in NAMES_ITS_OWN)
    ]
    assert loose == []
