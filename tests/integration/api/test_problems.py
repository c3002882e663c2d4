"""Every error is an RFC 9457 problem, whatever goes wrong."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson
import pytest
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import SecretStr

from service.api.routes import MAX_BODY_BYTES
from service.platform.settings import Settings
from service.platform.vault import new_key
from service.server.app import make_app
from tests.support.api.caller import Answer, Caller, SignUp
from tests.support.api.strategies import ITEM, JSON, TEXT, json_body
from tests.support.database import Connection
from tests.support.paths import DOCS


def _check(answer: Answer, status: int, slug: str) -> None:
    assert answer.status == status, answer.body
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert (answer.body["type"], answer.body["status"]) == (f"/problems/{slug}", status)
    assert answer.body["title"]
    assert answer.body["detail"] == answer.body["error"] != ""


async def test_each_kind_of_refusal_has_its_shape(admin: Caller) -> None:
    one = f"/items/{(await admin.make('/items', name='A', serial_number='S'))['id']}"
    nobody = "01890000-0000-7000-8000-000000000000"
    plain = admin.sending(Content_Type="text/plain")
    _check(await admin.post("/items", b'{"name": '), 400, "invalid-request")
    _check(await admin.post("/items", b'{"name": "\xff"}'), 400, "invalid-request")
    _check(await admin.post("/items", b"[]"), 400, "invalid-request")
    _check(await admin.post("/items", b"[" * 2000), 400, "invalid-request")
    _check(await admin.get(f"/items/{nobody}"), 404, "not-found")
    _check(await admin.get("/nothing"), 404, "not-found")
    _check(await admin.ask("PATCH", "/items"), 405, "method-not-allowed")
    _check(await admin.post("/items", {"name": "B", "serial_number": "S"}), 409, "conflict")
    _check(await admin.sending(If_Match='"x"').put(one, {}), 412, "precondition-failed")
    _check(await admin.post("/items", b'{"name": "' + b"x" * MAX_BODY_BYTES + b'"}'), 413, "payload-too-large")
    _check(await plain.post("/items", b'{"name": "B"}'), 415, "unsupported-media-type")
    _check(await admin.put(one, {"quantity": 2}), 422, "rule-violated")

    answer = await admin.post("/items", {"name": "", "quantity": -1, "attributes": []})
    _check(answer, 400, "invalid-request")
    assert sorted(answer.pointers) == ["/attributes", "/name", "/quantity"]
    assert all(error["detail"] for error in answer.body["errors"])


async def test_a_slash_at_the_end_is_as_none(admin: Caller) -> None:
    item = await admin.make("/items/", name="A")
    assert (await admin.get("/items/")).body == [item]
    assert (await admin.get(f"/items/{item['id']}/")).body == item
    assert (await admin.ask("HEAD", f"/items/{item['id']}/")).status == 200
    _check(await admin.ask("PATCH", "/items/"), 405, "method-not-allowed")
    _check(await admin.get("/items//"), 404, "not-found")
    assert (await admin.delete(f"/items/{item['id']}/")).status == 204


async def test_what_cannot_be_read_is_a_refusal_too(admin: Caller) -> None:
    deep = b'{"username": "anna", "password": "a good one", "deviceInfo": ' + b'{"a":' * 400 + b"1" + b"}" * 401
    answer = await admin.post("/auth/login", deep)
    _check(answer, 400, "invalid-request")
    assert answer.pointers == ["/deviceInfo"]
    packed = admin.sending(Content_Encoding="gzip")
    _check(await packed.post("/items", b'{"name": "B"}'), 400, "invalid-request")
    _check(await packed.post("/auth/login", b'{"name": "B"}'), 400, "invalid-request")


@pytest.mark.parametrize(
    ("since", "until"),
    [
        ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"),
        ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59.999999-14:00"),
        ("1970-01-01T00:00:00Z", "2999-01-01T00:00:00Z"),
    ],
)
async def test_the_first_and_the_last_moment_that_can_be_said_are_the_widest_range(
    admin: Caller, since: str, until: str
) -> None:
    webhook = (await admin.make("/webhooks", url="https://example.org/hook", events=["item-created"]))["webhook"]
    await admin.make("/items", name="A")
    audit = await admin.get("/audit", since=since, until=until, entity="item")
    assert (audit.status, len(audit.body)) == (200, 1)
    path = f"/webhooks/{webhook['id']}/replay"
    counted = await admin.post(path, {"since": since, "until": until, "status": "all", "dryRun": True})
    assert counted.status == 200
    job = await admin.post(path, {"since": since, "until": until, "status": "all"})
    assert job.status == 202
    listed = await admin.get(f"/webhooks/{webhook['id']}/replays")
    assert listed.body["jobs"] == [job.body["job"]]


async def test_a_refusal_with_a_key_has_the_same_shape(admin: Caller) -> None:
    keyed = admin.sending(Idempotency_Key="k")
    _check(await keyed.post("/items", b"{"), 400, "invalid-request")
    await keyed.make("/items", name="A")
    _check(await keyed.post("/items", {"name": "B"}), 422, "rule-violated")
    _check(await admin.sending(Idempotency_Key="\t").post("/items", {"name": "B"}), 400, "invalid-request")


async def test_a_request_id_is_taken_or_made_and_is_in_the_audit_trail(admin: Caller, connection: Connection) -> None:
    for given_id, taken in (("req-1", True), ("with space", False), ("x" * 129, False)):
        answer = await admin.sending(X_Request_ID=given_id).post("/categories", {"name": given_id})
        assert (answer.headers["X-Request-ID"] == given_id) is taken
        written = await connection.fetchval("select request_id from audit order by at desc limit 1")
        assert written == answer.headers["X-Request-ID"]


class Proxy:
    """A proxy before the database that can be cut."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        place = parse_qs(parts.query)
        self._socket = f"{place['host'][0]}/.s.PGSQL.{place.get('port', ['5432'])[0]}"
        self._login, self._path = parts.netloc.rpartition("@")[0], parts.path
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._port = 0

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()

    @property
    def url(self) -> str:
        return f"postgresql://{self._login}@127.0.0.1:{self._port}{self._path}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_unix_connection(self._socket)
        self._writers |= {writer, back}
        await asyncio.gather(_pump(reader, back), _pump(there, writer))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
    except ConnectionError:
        pass
    finally:
        writer.transport.abort()


@pytest.fixture
async def proxy(database_url: str) -> AsyncIterator[Proxy]:
    proxy = Proxy(database_url)
    await proxy.open()
    yield proxy
    await proxy.cut()


async def test_while_the_database_is_away_the_client_is_told_when_to_come_back(
    settings: Settings, proxy: Proxy, sign_up: SignUp
) -> None:
    async with TestClient(TestServer(make_app(settings, proxy.url))) as api:
        admin = Caller(api, await sign_up("admin"))
        keyed = admin.sending(Idempotency_Key="k")
        await admin.make("/items", name="before")
        await proxy.cut()
        for answer in (
            await admin.get("/items"),
            await keyed.post("/items", {"name": "A"}),
            await admin.get("/health"),
        ):
            _check(answer, 503, "unavailable")
            assert int(answer.headers["Retry-After"]) > 0
        await proxy.open()
        assert (await keyed.post("/items", {"name": "A"})).status == 201


async def test_a_webhook_whose_key_was_lost_says_which_and_can_be_removed(
    admin: Caller, settings: Settings, database_url: str, connection: Connection
) -> None:
    webhook = {"url": "https://example.org/hook", "events": ["item-created"]}
    created = [await admin.make("/webhooks", **webhook, headers={"X-Key": "v"}) for _ in range(2)]
    one, other = [f"/webhooks/{answer['webhook']['id']}" for answer in created]
    key_id = (await connection.fetchval("select headers_sealed from webhooks limit 1"))[:4].hex()
    lost = settings.model_copy(update={"webhook_secret_keys": SecretStr(new_key())})
    async with TestClient(TestServer(make_app(lost, database_url))) as api:
        later = Caller(api, admin.token)
        for answer in (
            await later.get(one),
            await later.put(one, {"url": "https://example.org/other"}),
            await later.put(one, {"headers": {"X-Key": "[set]"}}),
        ):
            _check(answer, 503, "unavailable")
            assert f"key {key_id}" in answer.body["detail"]
        assert len((await later.get("/webhooks")).body["webhooks"]) == 2
        # New headers are sealed with a key that still exists.
        mended = await later.put(one, {"headers": {"X-New": "w"}})
        assert (mended.status, mended.body["webhook"]["headers"]) == (200, {"X-New": "[set]"})
        assert (await later.get(one)).status == 200
        assert (await later.delete(other)).status == 204


WEBHOOK = st.fixed_dictionaries(
    {"url": st.just("https://example.org/hook") | TEXT, "events": st.just(["item-created"]) | st.lists(TEXT)},
    optional={
        "filters": JSON,
        "headers": st.dictionaries(TEXT, TEXT, max_size=3) | JSON,
        "retryPolicy": JSON,
        "timeout": JSON,
        "active": JSON,
    },
)
BODY = st.binary(max_size=200) | st.one_of(ITEM, WEBHOOK, JSON, st.dictionaries(TEXT, JSON, max_size=4)).map(json_body)


@hypothesis_settings(
    max_examples=100,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(body=BODY)
async def test_no_body_whatever_is_too_much_for_the_server(admin: Caller, body: bytes) -> None:
    for path in ("/items", "/webhooks"):
        answer: Any = await admin.post(path, body)
        assert answer.status in {201, 400, 409, 413, 422}, (path, body, answer.body)
        if answer.status != 201:
            assert answer.headers["Content-Type"] == "application/problem+json"


async def test_the_documented_problem_is_what_the_api_answers(admin: Caller) -> None:
    text = (DOCS / "API.md").read_text(encoding="utf-8")
    documented = orjson.loads(text.partition("```json\n")[2].partition("```")[0])
    assert (await admin.post("/items", {"name": " ", "quantity": -1})).body == documented
