"""count_ends.sql lists all that writes the statistics, so that a reader need not search."""

import re
from pathlib import Path

from service.platform.definitions import definitions
from service.platform.queries import Statements

WRITES = re.compile(r"\b(?:insert into|update|delete from)\s+(?:public\.)?delivery_counts\b|\bcount_ends\(")
LISTED = re.compile(r"^-- \* (\w+\.\w+): ", re.MULTILINE)
QUERIES = Path(__file__).parents[2] / "sql" / "queries"


def _writes(sql: str) -> bool:
    return WRITES.search(re.sub(r"--[^\n]*", "", sql)) is not None


def test_the_list_of_all_that_writes_the_statistics_is_whole() -> None:
    texts = {each.name: each.sql for each in definitions()}
    assert [name for name, sql in texts.items() if _writes(sql)] == ["count_ends"]
    written = {
        statement.name
        for path in QUERIES.glob("*.sql")
        for statement in Statements(path.stem, path.read_text(encoding="utf-8"))
        if _writes(statement.sql)
    }
    assert set(LISTED.findall(texts["count_ends"])) == written
    assert len(written) > 5
