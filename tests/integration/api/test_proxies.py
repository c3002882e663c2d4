"""Behind a trusted proxy, the recorded address is the client's."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from service.api.call import SETTINGS, Call, Nothing, Principal, Reply
from service.api.client import client_middleware
from service.api.routes import MAX_BODY_BYTES, add_routes, route
from service.auth.passwords import Passwords
from service.auth.throttle import MAX_LOGIN_FAILURES
from service.platform.settings import Settings, load_settings
from service.server.app import make_app, request_id_middleware
from tests.support.api.caller import Api, Caller, SignUp
from tests.support.api.outbox import Outbox
from tests.support.database import Connection

CLIENT = "192.0.2.44"
PASSWORD = "a-long-password"


@pytest.fixture
async def proxied(settings: Settings, database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Api]:
    """An API that trusts 127.0.0.1 as a proxy."""
    monkeypatch.setenv("JOSSIEDB_TRUSTED_PROXIES", "127.0.0.0/8, ::1/128")
    async with TestClient(TestServer(make_app(load_settings(), database_url))) as client:
        yield client


@pytest.fixture
async def anna(connection: Connection) -> str:
    hashed = await Passwords().hash(PASSWORD)
    await connection.execute(
        "insert into users (username, email, full_name, role, password_hash) values ('anna', 'a@example.org', 'Anna', 'admin', $1)",
        hashed,
    )
    return "anna"


async def _log_in(api: Api, headers: dict[str, str], password: str = PASSWORD) -> int:
    body = {"username": "anna", "password": password}
    async with api.post("/api/v1/auth/login", json=body, headers=headers) as response:
        await response.read()
        return response.status


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-For": f"198.51.100.1, {CLIENT}"},
        {"Forwarded": f'for=198.51.100.1, for="{CLIENT}:4711";proto=https'},
    ],
    ids=["X-Forwarded-For", "Forwarded"],
)
async def test_event_session_and_audit_name_the_client(
    headers: dict[str, str], proxied: Api, anna: str, outbox: Outbox, connection: Connection
) -> None:
    assert await _log_in(proxied, headers) == 200
    [(event_type, data)] = await outbox()
    assert (event_type, data["ipAddress"]) == ("user-login", CLIENT)
    assert await connection.fetchval("select ip_address from sessions") == CLIENT
    assert await connection.fetchval("select ip_address from audit") == CLIENT


@pytest.mark.parametrize(
    ("path", "media_type", "body"),
    [
        ("/items", "application/json", b'{"name": "x"}'),
        ("/items/bulk", "application/json", b'{"operations": [{"op": "create", "item": {"name": "x"}}]}'),
        ("/items/import", "text/csv", b"name\nx\n"),
    ],
)
async def test_a_request_whose_body_may_be_larger_names_the_client_too(
    path: str, media_type: str, body: bytes, proxied: Api, sign_up: SignUp, connection: Connection
) -> None:
    admin = Caller(proxied, await sign_up("admin")).sending(X_Forwarded_For=CLIENT, Content_Type=media_type)
    answer = await admin.ask("POST", path, body)
    assert answer.status in {200, 201}, answer.body
    assert [row[0] for row in await connection.fetch("select ip_address from audit")] == [CLIENT]


async def test_a_route_with_a_larger_body_knows_the_scheme_and_host_of_the_client(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOSSIEDB_TRUSTED_PROXIES", "127.0.0.1")

    async def show(call: Call[Nothing, Nothing]) -> Reply:
        request = call.request
        return Reply([request.scheme, request.host, request.remote, call.origin.ip_address])

    async def nobody(_: web.Request) -> Principal:
        raise AssertionError("the route is public")

    app = web.Application(middlewares=[request_id_middleware, client_middleware])
    app[SETTINGS] = load_settings()
    add_routes(app, [route("POST", "/show", show, "Show", public=True, max_body=2 * MAX_BODY_BYTES)], nobody)
    headers = {"X-Forwarded-For": CLIENT, "X-Forwarded-Proto": "https", "X-Forwarded-Host": "shop.example.org"}
    async with TestClient(TestServer(app)) as client, client.post("/api/v1/show", headers=headers) as response:
        assert await response.json() == ["https", "shop.example.org", CLIENT, CLIENT]


async def test_headers_count_for_nothing_while_no_proxy_is_trusted(api: Api, anna: str, outbox: Outbox) -> None:
    assert await _log_in(api, {"X-Forwarded-For": CLIENT, "Forwarded": f"for={CLIENT}"}) == 200
    assert (await outbox())[0][1]["ipAddress"] == "127.0.0.1"


async def test_failed_logins_are_counted_by_client_behind_the_same_proxy(proxied: Api, anna: str) -> None:
    attacker, other = {"X-Forwarded-For": "198.51.100.66"}, {"X-Forwarded-For": CLIENT}
    for _ in range(MAX_LOGIN_FAILURES):
        assert await _log_in(proxied, attacker, "wrong-password") == 401
    assert await _log_in(proxied, attacker) == 429
    # Another made-up address on the left does not help the attacker either.
    assert await _log_in(proxied, {"X-Forwarded-For": "203.0.113.5, 198.51.100.66"}) == 429
    assert await _log_in(proxied, other) == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-For": "not an address"},
        {"X-Forwarded-For": "," * 500},
        {"Forwarded": "for=;;,=,\"unterminated"},
        {"Forwarded": "for=\"[::1\";proto=\"\\\""},
        {"X-Forwarded-For": CLIENT, "X-Forwarded-Proto": "gopher", "X-Forwarded-Host": "a/b?c"},
        {"X-Forwarded-Host": "[::1"},
    ],
)  # fmt: skip
async def test_malformed_headers_of_a_trusted_proxy_are_no_failure(headers: dict[str, str], proxied: Api) -> None:
    async with proxied.get("/api/v1/health", headers={**headers, "X-Request-ID": "here"}) as response:
        assert (response.status, response.headers["X-Request-ID"]) == (200, "here")


async def test_scheme_and_host_are_the_clients(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOSSIEDB_TRUSTED_PROXIES", "127.0.0.1")

    async def show(request: web.Request) -> web.Response:
        return web.json_response([request.scheme, request.host, request.remote, await request.text()])

    app = web.Application(middlewares=[client_middleware])
    app[SETTINGS] = load_settings()
    app.router.add_post("/", show)
    async with TestClient(TestServer(app)) as client:
        headers = {"X-Forwarded-For": CLIENT, "X-Forwarded-Proto": "https", "X-Forwarded-Host": "shop.example.org"}
        async with client.post("/", headers=headers, data="the body") as response:
            assert await response.json() == ["https", "shop.example.org", CLIENT, "the body"]
