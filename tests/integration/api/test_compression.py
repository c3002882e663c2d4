"""Answers are compressed for clients that ask for it. Conditions hold for both forms."""

import gzip
import zlib
from typing import Any

import orjson
import pytest
from aiohttp import ClientSession
from multidict import CIMultiDict

from tests.support.api.caller import Caller
from tests.support.database import Connection


async def get(who: Caller, path: str, method: str = "GET", **headers: str) -> tuple[int, CIMultiDict[str], bytes]:
    """The answer as it came over the wire."""
    given = {**who.token.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
    url = who.api.make_url(f"/api/v1{path}")
    async with (
        ClientSession(auto_decompress=False, skip_auto_headers=["Accept-Encoding"]) as session,
        session.request(method, url, headers=given) as response,
    ):
        return response.status, CIMultiDict(response.headers), await response.read()


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("gzip", "gzip"),
        ("deflate, GZIP", "gzip"),
        ("deflate", "deflate"),
        ("gzip;q=0.2, deflate;q=0.8", "deflate"),
        ("gzip;q=0, *", "deflate"),
        ("*", "gzip"),
        ("br", None),
        ("gzip;q=0", None),
        ("gzip;q=x", None),
        ("identity", None),
        ("", None),
    ],
)
async def test_a_list_comes_as_the_client_asks(
    admin: Caller, connection: Connection, accepted: str, coding: str | None
) -> None:
    await connection.execute("insert into items (name) select 'item ' || n from generate_series(1, 200) as n")
    _, plain_headers, plain = await get(admin, "/items?limit=200")
    status, headers, body = await get(admin, "/items?limit=200", Accept_Encoding=accepted)
    assert status == 200
    assert headers.get("Content-Encoding") == coding
    assert headers["Vary"] == plain_headers["Vary"] == "Accept-Encoding"
    assert int(headers["Content-Length"]) == len(body)
    assert "Content-Encoding" not in plain_headers
    if coding == "gzip":
        assert gzip.decompress(body) == plain
    elif coding == "deflate":
        assert zlib.decompress(body) == plain
    else:
        assert body == plain
    if coding:
        assert len(body) < len(plain) / 2
    _, head, nothing = await get(admin, "/items?limit=200", "HEAD", Accept_Encoding=accepted)
    assert (head["Content-Length"], nothing) == (headers["Content-Length"], b"")


async def test_a_short_answer_is_not_compressed(admin: Caller) -> None:
    _, headers, body = await get(admin, "/items", Accept_Encoding="gzip")
    assert (body, "Content-Encoding" in headers) == (b"[]", False)


async def test_each_form_has_a_tag_of_its_own_and_either_is_known(admin: Caller) -> None:
    item = await admin.make("/items", name="Pump", description="x" * 2000)
    path = f"/items/{item['id']}"
    _, plain, _ = await get(admin, path)
    _, coded, body = await get(admin, path, Accept_Encoding="gzip")
    assert orjson.loads(gzip.decompress(body)) == item
    assert plain["ETag"] != coded["ETag"]
    for tag in (plain["ETag"], coded["ETag"], f"W/{coded['ETag']}"):
        for accepted, expected in (("gzip", coded), ("identity", plain)):
            status, headers, body = await get(admin, path, Accept_Encoding=accepted, If_None_Match=tag)
            assert (status, body, headers["ETag"], headers["Vary"]) == (304, b"", expected["ETag"], "Accept-Encoding")
    assert (await admin.sending(If_Match=coded["ETag"]).put(path, {"quantity": 1})).status == 200
    assert (await admin.sending(If_Match=coded["ETag"]).put(path, {"quantity": 2})).status == 412
    assert (await get(admin, path, Accept_Encoding="gzip", If_None_Match=coded["ETag"]))[0] == 200


async def test_what_holds_a_secret_is_never_compressed(admin: Caller) -> None:
    body: dict[str, Any] = {"url": "https://example.org/" + "x" * 1500, "events": ["item-created"]}
    asked = admin.sending(Accept_Encoding="gzip")
    answer = await asked.post("/webhooks", body)
    assert answer.body["webhook"]["secret"]
    assert "Content-Encoding" not in answer.headers
    stream = await asked.get(f"/webhooks/{answer.body['webhook']['id']}/stream")
    assert "Content-Encoding" not in stream.headers
