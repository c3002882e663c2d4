"""sql/functions and sql/views: one live text for each function and view."""

import re
from graphlib import CycleError
from pathlib import Path

import pytest

from service.platform.definitions import definitions, in_order
from tests.support.database import Connection
from tests.support.paths import ROOT

SQL = ROOT / "sql"
FILES = sorted([*(SQL / "functions").glob("*.sql"), *(SQL / "views").glob("*.sql")])
# Since this migration, functions and views have files of their own. The migrations before it stay
# as they are.
SINCE = "0042"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_defines_what_it_is_named_after_and_nothing_else(path: Path) -> None:
    text = re.sub(r"\A(?:--.*\n)+", "", path.read_text())
    assert re.findall(r"^(?:create|alter|drop)\b.*?\bpublic\.\w+", text, re.MULTILINE) == [
        f"create or replace {path.parent.name.removesuffix('s')} public.{path.stem}"
    ]
    assert text.startswith("create")
    assert path.read_text() != text, "a comment says what it is for"


async def test_every_function_and_view_of_the_database_has_a_file(connection: Connection) -> None:
    found = await connection.fetch(
        """
        select 'function ' || proname
          from pg_proc as p
         where pronamespace = 'public'::regnamespace
           and not exists (select from pg_depend where objid = p.oid and deptype = 'e')
        union all
        select 'view ' || relname from pg_class where relnamespace = 'public'::regnamespace and relkind = 'v'
        """
    )
    assert sorted(row[0] for row in found) == sorted(str(definition) for definition in definitions())


async def test_a_function_whose_results_are_stored_says_so(connection: Connection) -> None:
    """An index, a CHECK or a generated column keeps the results of the old text. So a change of
    such a text needs a migration."""
    stored = await connection.fetch(
        """
        select distinct proname
          from pg_depend
          join pg_proc on pg_proc.oid = refobjid and refclassid = 'pg_proc'::regclass
         where pronamespace = 'public'::regnamespace
           and (classid in ('pg_constraint'::regclass, 'pg_class'::regclass)
                or classid = 'pg_attrdef'::regclass
                   and exists (select from pg_attrdef as d
                                 join pg_attribute as a on a.attrelid = d.adrelid and a.attnum = d.adnum
                                where d.oid = objid and a.attgenerated <> ''))
        """
    )
    assert {row[0] for row in stored} >= {"departures", "check_event"}
    silent = [row[0] for row in stored if "-- Stored: " not in (SQL / "functions" / f"{row[0]}.sql").read_text()]
    assert silent == []


def test_no_later_migration_replaces_a_function_or_a_view() -> None:
    """A migration may create a function that it needs. The file in sql/functions or sql/views then
    replaces it."""
    replaces = re.compile(r"\bcreate\s+or\s+replace\b|\balter\s+function\b", re.IGNORECASE)
    later = [path for path in (SQL / "migrations").glob("*.sql") if path.name >= SINCE]
    assert later
    assert [path.name for path in later if replaces.search(path.read_text())] == []


def test_a_text_comes_after_those_that_it_mentions() -> None:
    texts = {"a": "select c()", "b": "select 1 -- as a does", "c": "select b()"}
    assert in_order(texts) == ["b", "c", "a"]
    order = [definition.name for definition in definitions()]
    assert order.index("may_read") < order.index("webhook_wants") < order.index("replayable")


def test_texts_that_mention_each_other_are_refused() -> None:
    with pytest.raises(CycleError):
        in_order({"a": "select b()", "b": "select a()"})
