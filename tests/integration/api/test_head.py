"""A HEAD is a GET without the body."""

import asyncio
import re

import pytest

from service.platform.ids import new_id
from service.server.app import ROUTES
from tests.support.api.caller import Answer, Api, Caller, SignUp
from tests.support.api.webhooks import make_webhook

READ = [entry.path for entry in ROUTES if entry.method == "GET"]
# Headers that each answer makes anew.
OWN = {"Transfer-Encoding", "Date", "X-Request-ID"}


def _headers(answer: Answer) -> dict[str, str]:
    return {name: text for name, text in answer.headers.items() if name not in OWN}


async def test_each_route_that_is_read_takes_a_head_and_answers_it_with_the_same_headers(admin: Caller) -> None:
    ids = {
        "items": (await admin.make("/items", name="Pump"))["id"],
        "locations": (await admin.make("/locations", name="Yard"))["id"],
        "categories": (await admin.make("/categories", name="Pumps"))["id"],
        "webhooks": (await make_webhook(admin))["id"],
        "users": str(admin.token.user_id),
    }
    query = {"/events/{id}/explain": {"webhook": ids["webhooks"]}}
    found = set()
    for path in READ:
        one = re.sub(r"\{\w+\}", ids.get(path.split("/")[1], str(new_id())), path)
        get = await admin.ask("GET", one, **query.get(path, {}))
        head = await admin.ask("HEAD", one, **query.get(path, {}))
        if get.headers.get("Transfer-Encoding") == "chunked":
            # The answer is sent piece by piece, so its length is not known beforehand.
            assert (head.status, _headers(head)) == (get.status, _headers(get)), path
            found.add(path)
            continue
        assert (head.status, _headers(head), head.body) == (get.status, _headers(get), None), path
        assert "Content-Length" in head.headers, path
        if get.status == 200:
            found.add(path)
    # The other paths do not exist: both methods answer with the same error.
    assert {path for path in READ if "{" not in path or (path.split("/")[1] in ids and path.count("{") == 1)} <= found


async def test_a_head_of_what_is_known_already_is_answered_as_such(admin: Caller) -> None:
    path = f"/items/{(await admin.make('/items', name='Pump'))['id']}"
    tag = (await admin.ask("HEAD", path)).headers["ETag"]
    assert (await admin.sending(If_None_Match=tag).ask("HEAD", path)).status == 304


async def test_a_head_needs_the_same_rights_and_is_not_taken_where_nothing_is_read(
    admin: Caller, api: Api, sign_up: SignUp
) -> None:
    worker = Caller(api, await sign_up("worker"))
    assert (await worker.ask("HEAD", "/users")).status == 403
    async with api.head("/api/v1/items") as response:
        assert (response.status, response.headers["WWW-Authenticate"]) == (401, "Bearer")
    refused = await admin.ask("HEAD", "/auth/login")
    assert (refused.status, refused.headers["Allow"]) == (405, "POST")
    refused = await admin.ask("PATCH", "/items")
    assert (refused.status, refused.headers["Allow"]) == (405, "GET, HEAD, POST")


@pytest.mark.parametrize("path", ["/api/v1/health", "/api/v1/nothing", "/api/v1/items", "/docs", "/static/docs.js"])
async def test_nothing_follows_the_headers(api: Api, path: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    writer.write(f"HEAD {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read(-1)
    writer.close()
    assert answer.startswith(b"HTTP/1.1 ")
    assert answer.index(b"\r\n\r\n") == len(answer) - 4
    assert b"Content-Length: 0\r\n" not in answer
