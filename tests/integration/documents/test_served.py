"""The documents as the API serves them to anybody, and the page that shows them."""

import re

import pytest

from service.documents import asyncapi, openapi
from service.server.app import ROUTES
from tests.support.api.caller import Api


@pytest.mark.parametrize("name", ["openapi", "asyncapi"])
async def test_a_document_is_served_to_anybody_and_once_to_who_keeps_it(api: Api, name: str) -> None:
    path = f"/api/v1/{name}.json"
    async with api.get(path) as response:
        assert response.status == 200
        assert response.content_type == "application/json"
        assert response.headers["Cache-Control"] == "no-cache"
        etag = response.headers["ETag"]
        assert await response.json() == {"openapi": openapi.document(ROUTES), "asyncapi": asyncapi.document()}[name]
    async with api.get(path, headers={"If-None-Match": f'"of-another", W/{etag}'}) as response:
        assert response.status == 304
        assert response.headers["ETag"] == etag
        assert await response.read() == b""
    async with api.get(path, headers={"If-None-Match": '"of-another"'}) as response:
        assert response.status == 200


async def test_the_page_may_load_from_here_only_and_all_that_it_names_is_here(api: Api) -> None:
    async with api.get("/docs") as response:
        assert response.status == 200
        assert response.content_type == "text/html"
        policy = response.headers["Content-Security-Policy"].split("; ")
        page = await response.text()
    assert "default-src 'self'" in policy
    assert not re.search(r"unsafe|https?:|\*", "".join(policy))
    named = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(named) >= 5
    for path in named:
        async with api.get(f"/{path}") as response:
            assert response.status == 200, path


async def test_the_root_leads_to_the_page(api: Api) -> None:
    async with api.get("/", allow_redirects=False) as response:
        assert response.status == 302
        assert response.headers["Location"] == "/docs"


@pytest.mark.parametrize("path", ["/static/", "/static/none.js", "/static/%2e%2e/__init__.py", "/static/../app.py"])
async def test_nothing_else_is_served_as_a_file(api: Api, path: str) -> None:
    async with api.get(path) as response:
        assert response.status in {403, 404}
