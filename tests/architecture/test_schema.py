"""sql/schema.sql is the schema that the migrations make."""

import re

import asyncpg

from tests.support.database import Connection
from tests.support.paths import ROOT
from tests.support.postgres.schema_catalog import catalog

SCHEMA = ROOT / "sql" / "schema.sql"


async def test_the_migrated_catalog_is_that_of_schema_sql(database_url: str, empty_database_url: str) -> None:
    connection = await asyncpg.connect(empty_database_url)
    try:
        await connection.execute(SCHEMA.read_text())
    finally:
        await connection.close()
    migrated, loaded = await catalog(database_url), await catalog(empty_database_url)
    assert {"run `make schema`; missing": migrated - loaded, "too much": loaded - migrated} == {
        "run `make schema`; missing": set(),
        "too much": set(),
    }


OWN_PATH = "pg_catalog, public, pg_temp"


async def test_no_function_finds_what_it_names_by_the_callers_search_path(connection: Connection) -> None:
    """Each function names the schema of our objects, or sets a search path of its own. A function
    that PostgreSQL inlines, or that each write calls, must do the first: setting a path is too slow
    there."""
    relations = [
        row[0]
        for row in await connection.fetch(
            "select relname from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p', 'S')"
        )
    ]
    functions = await connection.fetch(
        """
        select proname as name, prosrc as body, array_to_string(proconfig, ' ') as config
          from pg_proc as p
         where pronamespace = 'public'::regnamespace
           and not exists (select from pg_depend where objid = p.oid and deptype = 'e')
        """
    )
    assert len(functions) > 10
    unqualified = re.compile(
        rf"\b(?:from|join|into|update|table|using)\s+(?:only\s+)?(?:{'|'.join(relations)})\b(?!\s*,)"
        rf"|(?<![.\w])(?:{'|'.join(row['name'] for row in functions if row['name'] != 'uuidv7')})\("
        rf"|^\s*\w+\s+(?:{'|'.join(relations)})(?:%rowtype)?;",
        re.MULTILINE,
    )
    found = {
        row["name"]: match[0]
        for row in functions
        if f"search_path={OWN_PATH}" not in (row["config"] or "") and (match := unqualified.search(row["body"]))
    }
    assert found == {}


async def test_no_unique_index_is_in_an_order_that_an_upgrade_of_the_system_changes(connection: Connection) -> None:
    """ "C" sorts by bytes. Any other collation sorts as the C library or ICU does, and their order
    changes now and then."""
    others = await connection.fetch(
        """
        select indexrelid::regclass::text as name
          from pg_index
          join pg_class on pg_class.oid = indexrelid
         where indisunique and relnamespace = 'public'::regnamespace
           and exists (select from unnest(indcollation::oid[]) as used (oid)
                        where used.oid not in (0, 'pg_catalog."C"'::regcollation))
        """
    )
    assert [row["name"] for row in others] == []
