"""A process checks the server when it starts, and reports a problem in one line."""

import uuid
from collections.abc import AsyncIterator

import asyncpg
import orjson
import pytest

from service.platform.db import connect, open_pool
from service.platform.errors import StartupError
from service.platform.lifecycle import require_migrated
from service.platform.settings import Settings
from tests.support.command_line import BOSS, PASSWORD, refusal, run
from tests.support.database import Connection, drop_database, with_database

# libpq accepts all of these but the last two, which are for other programs.
PARAMETERS = (
    "connect_timeout=5&application_name=ours&sslmode=prefer&target_session_attrs=any"
    "&channel_binding=prefer&gssencmode=prefer&keepalives=1&keepalives_idle=30&keepalives_interval=10&keepalives_count=3"
    "&tcp_user_timeout=10000&options=-c%20geqo%3Doff&pgbouncer=true&connection_limit=3"
)

DROPPED = ["channel_binding", "gssencmode", "keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count"]
DROPPED += ["tcp_user_timeout", "pgbouncer", "connection_limit"]


@pytest.fixture
async def latin1_url(server_url: str) -> AsyncIterator[str]:
    """A database that cannot hold every text."""
    name = f"test_{uuid.uuid4().hex}"
    admin = await asyncpg.connect(server_url)
    await admin.execute(f"create database {name} encoding 'LATIN1' locale 'C' locale_provider libc template template0")
    await admin.close()
    url = with_database(server_url, name)
    yield url
    await drop_database(server_url, url)


async def test_a_database_that_is_not_utf8_is_refused(
    environment: None, latin1_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", latin1_url)
    for command in ("migrate", "serve"):
        assert "the database's encoding is LATIN1" in await refusal(command)


@pytest.fixture
async def role(connection: Connection) -> AsyncIterator[str]:
    """A role that may log in, and has no other right."""
    role = f"joss_{uuid.uuid4().hex}"
    await connection.execute(f"create role {role} login")
    yield role
    await connection.execute(f"drop owned by {role} cascade; drop role {role}")


async def test_a_pool_that_gets_no_connection_says_so(connection: Connection, database_url: str, role: str) -> None:
    await connection.execute(f"alter role {role} connection limit 1")
    url = database_url.replace("postgres@", f"{role}@")
    only = await connect(url, application_name="test")
    with pytest.raises(StartupError, match="cannot be reached: too many connections for role"):
        await open_pool(url, application_name="test", size=1)
    await only.close()


async def test_a_role_with_too_few_rights_is_told_which(connection: Connection, database_url: str, role: str) -> None:
    url = database_url.replace("postgres@", f"{role}@")
    for lacking, granted in (
        ("this role lacks select on schema_migrations", f"grant select on all tables in schema public to {role}"),
        ("this role lacks insert on outbox; grant it", f"grant insert on outbox to {role}"),
    ):
        with pytest.raises(StartupError, match=lacking):
            await require_migrated(url)
        await connection.execute(granted)
    await require_migrated(url)
    await connection.execute(f"revoke select on items, users from {role}")
    with pytest.raises(StartupError, match="lacks select on items, select on users; grant it"):
        await require_migrated(url)
    await connection.execute("revoke usage on schema public from public")
    with pytest.raises(StartupError, match="may not use the schema public"):
        await require_migrated(url)


async def test_a_server_that_takes_no_writes_is_refused_but_can_be_audited(
    settings: Settings, connection: Connection
) -> None:
    database = await connection.fetchval("select current_database()")
    await connection.execute(f"alter database {database} set default_transaction_read_only = on")
    for command in (["serve", "--port", "0"], [*BOSS, "--role", "admin"]):
        line = await refusal(*command, given=f"{PASSWORD}\n")
        assert "default_transaction_read_only is on" in line
    code, _, errors = await run("audit", "outbox_completeness")
    assert (code, errors) == (0, "")


async def test_parameters_that_asyncpg_does_not_know_are_dropped_with_one_warning(
    environment: None, empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"{empty_database_url}&{PARAMETERS}")
    code, output, errors = await run("migrate")
    assert code == 0
    assert output.startswith("applied 0001")
    (line,) = errors.splitlines()
    warning = orjson.loads(line)
    assert (warning["level"], warning["names"]) == (
        "warning",
        DROPPED,
    )
    # psql would refuse the parameters of other programs, so the command drops them.
    assert (await run("audit", "outbox_completeness"))[0] == 0


async def test_parameters_that_can_be_honoured_are(empty_database_url: str) -> None:
    session = await connect(f"{empty_database_url}&{PARAMETERS}", application_name="test")
    assert await session.fetchval("select current_setting('application_name')") == "ours"
    assert await session.fetchval("select current_setting('geqo')") == "off"
    await session.close()


async def test_another_programs_table_of_migrations_is_left_alone(
    environment: None, empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", empty_database_url)
    connection = await asyncpg.connect(empty_database_url)
    try:
        await connection.execute("create table schema_migrations (version varchar primary key)")
        await connection.execute("insert into schema_migrations values ('20240101000000')")
        for command in ("migrate", "serve"):
            line = await refusal(command)
            assert "public.schema_migrations is another program's: it has the columns version" in line
        assert await connection.fetchval("select array_agg(version) from schema_migrations") == ["20240101000000"]
        assert await connection.fetchval(
            "select array_agg(relname::text) from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r'"
        ) == ["schema_migrations"]
        # Other tables of that program are not taken for ours either.
        await connection.execute("drop table schema_migrations; create table users (id int)")
        assert "public has users of another program" in await refusal("migrate")
        assert await connection.fetchval("select to_regclass('schema_migrations')") is None
    finally:
        await connection.close()
