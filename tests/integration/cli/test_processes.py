"""Processes that the command line starts: the API, a relay, and their healthchecks."""

import asyncio
import signal
import socket
import tempfile
from pathlib import Path

import aiohttp
import pytest
from yarl import URL

from service.platform.settings import Settings
from tests.support.command_line import BOSS, PASSWORD, TIMEOUT, refusal, run, serving, started
from tests.support.database import Connection, SomebodyWaits
from tests.support.postgres.shared_server import scratch


async def test_production_refuses_to_start_without_secrets(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOSSIEDB_ENV", "production")
    monkeypatch.setenv("JWT_SECRET", "changeme")
    monkeypatch.delenv("WEBHOOK_SECRET_KEYS")
    line = await refusal("serve")
    assert "JWT_SECRET" in line
    assert "WEBHOOK_SECRET_KEYS" in line


async def test_a_data_directory_that_cannot_be_used_is_named(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOSSIEDB_DATA_DIR", "/dev/null/data")
    monkeypatch.delenv("JWT_SECRET")
    assert "/dev/null/data/jwt_secret cannot be used" in await refusal("serve", "--port", "0")


async def test_a_server_that_cannot_be_reached_is_named_without_its_password(
    environment: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        monkeypatch.setenv("DATABASE_URL", f"postgresql://joss:geheim@127.0.0.1:{port}/stock")
        for command in (["serve"], ["migrate"], [*BOSS, "--role", "admin"]):
            line = await refusal(*command, given=f"{PASSWORD}\n")
            assert f"127.0.0.1:{port}/stock" in line
            assert "geheim" not in line


async def test_a_postgresql_that_is_too_old_is_refused(environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    async def old_server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A server that speaks just enough of the protocol for a client to learn its version."""
        try:
            while size := int.from_bytes(await reader.readexactly(4)):
                request = await reader.readexactly(size - 4)
                if request[:4] == (80877103).to_bytes(4):
                    writer.write(b"N")  # no TLS
                    continue
                version = b"server_version\x0014.22\x00"
                writer.write(b"R\0\0\0\x08\0\0\0\0" + b"S" + (len(version) + 4).to_bytes(4) + version + b"Z\0\0\0\x05I")
                await reader.read(1)  # the goodbye
                break
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(old_server, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        monkeypatch.setenv("DATABASE_URL", f"postgresql://joss@127.0.0.1:{port}/stock")
        assert "is version 14; Jossiedb needs 15 or newer" in await refusal("serve")


async def test_a_port_in_use_is_refused(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert await refusal("serve", "--port", str(port)) == (
            f"jossiedb: port {port} on 127.0.0.1 is in use; choose another with --port"
        )


async def test_an_address_of_another_machine_is_refused(settings: Settings) -> None:
    assert "cannot listen on 192.0.2.1 port 0" in await refusal("serve", "--host", "192.0.2.1", "--port", "0")


async def test_names_that_are_no_settings_are_warned_about_once(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEBHOOK_TIMOUT", "5000")
    monkeypatch.setenv("WEBHOOK_SERVICE_HOST", "10.0.0.1")
    async with serving() as server:
        assert await server.end() == 0
    (warning,) = [record for record in server.log if record["level"] == "warning"]
    assert warning["names"] == ["WEBHOOK_TIMOUT"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_serve_finishes_what_is_in_flight_when_it_is_told_to_stop(
    settings: Settings, connection: Connection, somebody_waits: SomebodyWaits, number: signal.Signals
) -> None:
    assert (await run(*BOSS, given=f"{PASSWORD}\n"))[0] == 0
    async with serving() as server, aiohttp.ClientSession(server.address) as client:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("select from users for update")
        credentials = {"username": "boss", "password": PASSWORD}
        signing_in = asyncio.ensure_future(client.post("/api/v1/auth/login", json=credentials))
        await somebody_waits()
        ending = asyncio.ensure_future(server.end(number))
        while await listens(server.address):  # the API is another process, so nothing can be awaited
            await asyncio.sleep(0.01)
        await transaction.commit()
        async with await signing_in as answer:
            assert answer.status == 200
        assert await ending == 0
    assert server.log[-1]["event"] == "stopped"


async def listens(address: str) -> bool:
    host, port = address.removeprefix("http://").split(":")
    try:
        _, writer = await asyncio.open_connection(host, int(port))
    except ConnectionRefusedError:
        return False
    writer.close()
    return True


async def test_the_log_has_a_line_for_each_request_and_no_secret(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, connection: Connection
) -> None:
    monkeypatch.setenv("JOSSIEDB_LOG_LEVEL", "debug")
    assert (await run(*BOSS, given=f"{PASSWORD}\n"))[0] == 0
    async with serving() as server, aiohttp.ClientSession(server.address) as client:
        post = f"{server.address}/api/v1/auth/"
        async with client.post(
            f"{post}login?_token=in-the-query", json={"username": "boss", "password": PASSWORD}
        ) as answer:
            signed_in = await answer.json()
            request_id = answer.headers["X-Request-ID"]
        bearer = {"Authorization": f"Bearer {signed_in['token']}"}
        async with client.get(f"{post}profile", headers=bearer) as answer:
            assert answer.status == 200
        async with client.post(f"{post}refresh", json={"refreshToken": signed_in["refreshToken"]}) as answer:
            renewed = await answer.json()
        async with client.post(f"{post}login", json={"username": "boss", "password": "wrong-password"}) as answer:
            assert answer.status == 401
        await connection.execute("alter table outbox rename to gone")
        async with client.post(f"{post}login", json={"username": "boss", "password": PASSWORD}) as answer:
            assert answer.status == 500
        assert await server.end() == 0
    requests = [record for record in server.log if record["event"] == "request"]
    assert [(record["method"], record["path"], record["status"]) for record in requests] == [
        ("POST", "/api/v1/auth/login", 200),
        ("GET", "/api/v1/auth/profile", 200),
        ("POST", "/api/v1/auth/refresh", 200),
        ("POST", "/api/v1/auth/login", 401),
        ("POST", "/api/v1/auth/login", 500),
    ]
    assert requests[0]["request_id"] == request_id
    assert requests[0]["ms"] > 0
    failed = next(record for record in server.log if record["event"] == "a request failed")
    assert failed["request_id"] == requests[-1]["request_id"]
    written = str(server.log)
    password_hash = await connection.fetchval("select password_hash from users")
    secrets = (PASSWORD, "wrong-password", "in-the-query", password_hash, settings.jwt_key())
    tokens = (signed_in["token"], signed_in["refreshToken"], renewed["token"], renewed["refreshToken"])
    for secret in (*secrets, *tokens):
        assert secret not in written


@pytest.mark.parametrize(
    "sent",
    [
        b"POST /api/v1/auth/login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{",
        b"POST /api/v1/auth/login HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\nAuthorization: geheim\r\n",
        b"GET /api/v1/items HTTP/1.1\r\nHost: a\r\nAuthorization Bearer geheim\r\n\r\n",
        b"GET /api/v1/items HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer geheim\x01\r\n\r\n",
        b"geheim\r\n\r\n",
        b"POST /api/v1/auth/login HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\nContent-Length: 8\r\n\r\ngeheim..",
    ],
)
async def test_what_a_client_sends_amiss_is_neither_a_fault_of_the_server_nor_shown_in_its_log(
    settings: Settings, sent: bytes
) -> None:
    async with serving() as server, aiohttp.ClientSession(server.address) as client:
        address = URL(server.address)
        _, writer = await asyncio.open_connection(address.host, address.port)
        writer.write(sent)
        await writer.drain()
        # By the time of this answer, the server has read those bytes.
        async with client.get("/api/v1/health") as answer:
            assert answer.status == 200
        writer.transport.abort()
        async with client.get("/api/v1/health") as answer:
            assert answer.status == 200
        assert await server.end() == 0
    assert [record for record in server.log if record["event"] == "the database is away"] == []
    assert [record for record in server.log if record["level"] not in {"info", "debug"}] == []
    assert "geheim" not in str(server.log)
    assert "Traceback" not in str(server.log)


async def test_the_healthcheck_tells_a_working_api_from_one_that_is_not(settings: Settings) -> None:
    async with serving() as server:
        assert await run("healthcheck", "--url", server.address) == (0, "", "")
        await server.end()
    code, _, errors = await run("healthcheck", "--url", server.address)
    assert code == 1
    assert len(errors.splitlines()) == 1


async def test_the_healthcheck_of_a_relay_looks_for_one_on_this_host_that_is_alive(
    settings: Settings, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def check() -> int | None:
        return (await run("healthcheck", "--relay"))[0]

    assert await check() == 1
    insert = (
        "insert into relays (id, version, host, pid, seen_at) values (uuidv7(), '1', $1, 1, now() - $2::text::interval)"
    )
    await connection.execute(insert, "another-host", "0 s")
    await connection.execute(insert, socket.gethostname(), "1 min")
    assert await check() == 1
    await connection.execute("update relays set seen_at = now()")
    assert await check() == 0
    monkeypatch.setenv("DATABASE_URL", "postgresql://joss@127.0.0.1:1/stock")
    assert await check() == 1


async def test_the_embedded_server_is_used_without_a_database_url(
    environment: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory(dir=scratch()) as data_dir:
        # If root starts the server, it runs as another user. That user must be able to enter this
        # directory.
        Path(data_dir).chmod(0o711)
        monkeypatch.setenv("JOSSIEDB_DATA_DIR", data_dir)
        await use_embedded_server()


async def use_embedded_server() -> None:
    assert "not migrated" in await refusal("serve", "--port", "0")
    assert (await run("migrate"))[0] == 0
    async with serving() as server:
        # This command shares the embedded server with the serving process.
        assert (await run(*BOSS, given=f"{PASSWORD}\n"))[0] == 0
        async with aiohttp.ClientSession() as client:
            credentials = {"username": "boss", "password": PASSWORD}
            async with client.post(f"{server.address}/api/v1/auth/login", json=credentials) as answer:
                assert answer.status == 200
        assert await server.end(signal.SIGINT) == 0


async def test_relay_is_a_relay_that_the_healthcheck_finds(settings: Settings, connection: Connection) -> None:
    async with started("relay") as process:
        async with asyncio.timeout(TIMEOUT):
            while not await connection.fetchval("select exists (select from relays where pid = $1)", process.pid):
                await asyncio.sleep(0.05)
        assert await run("healthcheck", "--relay") == (0, "", "")
        process.terminate()
        await process.communicate()
        assert process.returncode == 0
    assert (await run("healthcheck", "--relay"))[0] == 1


async def test_a_server_that_is_told_to_stop_answers_who_waits_for_events(
    settings: Settings, connection: Connection
) -> None:
    code, _, errors = await run(*BOSS, "--role", "admin", given=f"{PASSWORD}\n")
    assert code == 0, errors
    async with serving() as server, aiohttp.ClientSession(f"{server.address}/api/v1/") as session:
        async with session.post("auth/login", json={"username": "boss", "password": PASSWORD}) as response:
            session.headers["Authorization"] = f"Bearer {(await response.json())['token']}"
        webhook = {"url": "https://example.org/", "events": ["item-created"]}
        async with session.post("webhooks", json=webhook) as response:
            webhook_id = (await response.json())["webhook"]["id"]

        async def wait() -> tuple[int, object]:
            async with session.get(f"webhooks/{webhook_id}/stream", params={"wait": "60"}) as response:
                return response.status, (await response.json())["events"]

        waiting = asyncio.create_task(wait())
        # Only a waiting request runs this statement.
        asked = (
            "select exists (select from pg_stat_activity"
            " where datname = current_database() and query like 'select position from log_head%')"
        )
        while not await connection.fetchval(asked):
            await asyncio.sleep(0.01)
        assert await server.end() == 0
        # A request that was cut off at the end of the grace would get no answer.
        assert await waiting == (200, [])


async def test_it_serves_on_a_socket_that_it_was_given(settings: Settings, connection: Connection) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        async with (
            started("serve", "--fd", str(listener.fileno()), pass_fds=[listener.fileno()]),
            aiohttp.request("GET", f"http://127.0.0.1:{port}/api/v1/health") as response,
        ):
            assert response.status == 200


async def test_a_descriptor_that_is_no_socket_is_refused_in_a_line(settings: Settings, connection: Connection) -> None:
    assert "--fd 987 is no socket to listen on" in await refusal("serve", "--fd", "987")
