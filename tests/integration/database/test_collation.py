"""Which user a name denotes does not depend on the database's collation. In Turkish, the lower case
of I is a dotless ı."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
from aiohttp.test_utils import TestClient, TestServer

from relay.lead.fanout import FanOut
from service.platform import migrate
from service.platform.db import connect
from service.platform.embedded.server import EmbeddedServer
from service.platform.errors import StartupError
from service.platform.settings import Settings, load_settings
from service.server.app import make_app
from tests.support.api.caller import Api
from tests.support.database import Connection, with_database
from tests.support.postgres.janitor import Janitor
from tests.support.postgres.shared_server import scratch
from tests.support.programs import SkipUnless
from tests.support.rows import add_webhook

PASSWORD = "correct horse battery"


@pytest.fixture
def debians_server() -> Iterator[str]:
    """Debian's PostgreSQL, at its database `postgres`. The embedded one is built without ICU."""
    program = SkipUnless()("/usr/lib/postgresql/15/bin/postgres")
    janitor = Janitor(scratch())
    server = EmbeddedServer(janitor.run_dir, bin_dir=Path(program).parent, settings={"fsync": "off"}, sync=False)
    try:
        yield with_database(server.start(), "postgres")
    finally:
        server.stop()
        janitor.finish()


@pytest.fixture
async def turkish_url(debians_server: str) -> str:
    """An empty database whose collation is ICU's tr-TR."""
    admin = await asyncpg.connect(debians_server)
    await admin.execute(
        "create database stock locale_provider icu icu_locale 'tr-TR' locale 'C.UTF-8' template template0"
    )
    await admin.close()
    return with_database(debians_server, "stock")


@pytest.fixture
async def turkish(turkish_url: str) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(turkish_url)
    assert await connection.fetchval("select lower('IRIS')") == "ırıs"
    yield connection
    await connection.close()


@pytest.fixture
def turkish_settings(environment: None, turkish_url: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("DATABASE_URL", turkish_url)
    return load_settings()


async def _register(api: Api, username: str, email: str) -> int:
    new = {"username": username, "email": email, "full_name": "Iris", "password": PASSWORD}
    async with api.post("/api/v1/auth/register", json=new) as answer:
        return answer.status


async def _log_in(api: Api, username: str, password: str = PASSWORD) -> int:
    async with api.post("/api/v1/auth/login", json={"username": username, "password": password}) as answer:
        return answer.status


async def test_users_and_their_events_are_the_same_in_a_turkish_database(
    turkish: Connection, turkish_url: str, turkish_settings: Settings
) -> None:
    await migrate.migrate(turkish)
    webhook = await add_webhook(turkish, turkish_settings, "http://127.0.0.1:1/", ["user-login"])
    async with TestClient(TestServer(make_app(turkish_settings, turkish_url))) as api:
        assert await _register(api, "iris", "iris@example.org") == 201
        for name in ("iris", "IRIS", "Iris", "IRIS@EXAMPLE.ORG"):
            assert await _log_in(api, name) == 200, name
        assert await _register(api, "IRIS", "other@example.org") == 409
        assert await _register(api, "other", "IRIS@example.org") == 409
        for name in ("iris", "IRIS"):
            assert await _log_in(api, name, "wrong horse battery") == 401
    assert await turkish.fetchval("select array_agg(distinct identifier) from login_failures") == ["iris"]
    session = await connect(turkish_url, application_name="test")
    fanout = FanOut(session)
    while await fanout.anything():
        await fanout.batch()
    assert await session.fetchval("select count(*) from deliveries where webhook_id = $1", webhook.id) == 4
    await session.close()


async def test_users_that_are_one_only_now_are_named_and_nothing_is_changed(
    turkish: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = tuple(migration for migration in migrate.migrations() if migration.version < 37)
    with monkeypatch.context() as patch:
        patch.setattr(migrate, "migrations", lambda: known)
        patch.setattr(migrate, "definitions", lambda: ())
        await migrate.migrate(turkish)
    for name in ("iris", "IRIS"):
        await turkish.execute(
            "insert into users (username, email, full_name, password_hash) values ($1, $1 || '@example.org', 'Iris', '!')",
            name,
        )
    with pytest.raises(
        StartupError, match=r"migration 0037_.* the same but for upper and lower case: IRIS, iris; rename"
    ):
        await migrate.migrate(turkish)
    assert await turkish.fetchval("select max(version) from schema_migrations") == 36
    await turkish.execute("update users set username = 'iris2' where username = 'IRIS'")
    with pytest.raises(StartupError, match=r"upper and lower case: IRIS@example\.org, iris@example\.org"):
        await migrate.migrate(turkish)
    await turkish.execute("update users set email = 'iris2@example.org' where username = 'iris2'")
    assert next(migration.version for migration in (await migrate.migrate(turkish)).migrations) == 37


async def test_letters_beyond_ascii_are_told_apart_in_an_address_and_not_in_a_place(
    turkish: Connection, turkish_url: str, turkish_settings: Settings
) -> None:
    await migrate.migrate(turkish)
    async with TestClient(TestServer(make_app(turkish_settings, turkish_url))) as api:
        assert await _register(api, "one", "é@example.org") == 201
        assert await _register(api, "two", "É@example.org") == 201
    await turkish.execute("insert into locations (name) values ('Öl')")
    with pytest.raises(asyncpg.UniqueViolationError, match="locations_name_key"):
        await turkish.execute("insert into locations (name) values ('ÖL')")
