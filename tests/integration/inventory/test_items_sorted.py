"""The orders of the list of items, with both kinds of pages."""

from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from service.inventory import lists
from service.inventory.models import ItemQuery
from tests.support.api.caller import Answer, Caller
from tests.support.database import Connection

SORTS = [f"{sign}{column}" for column in ItemQuery.KINDS for sign in ("", "-")]


@pytest.fixture(params=["walked", "sorted"])
def either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs the test twice: pages are found in the index of the order, or all matching rows are
    sorted."""
    if request.param == "sorted":
        monkeypatch.setattr(lists, "STRETCH", 1)


@pytest.fixture
async def items(connection: Connection) -> list[dict[str, Any]]:
    """Several items have the same value, and some have none."""
    rows = await connection.fetch(
        """insert into items (name, sku, quantity, purchase_date, created_at, updated_at, status)
           select (array['a', 'B', 'c', 'é'])[1 + n % 4], case when n % 3 > 0 then 'S-' || n end, n % 3,
                  case when n % 4 > 0 then date '2026-01-01' + n % 2 end,
                  timestamptz '2026-01-01 00:00:00.000001Z' + n % 5 * interval '1 microsecond', '2026-01-01Z', 'lost'
             from generate_series(1, 23) as n
           returning id, name, sku, quantity, purchase_date, created_at, updated_at"""
    )
    await connection.execute("insert into items (name) select 'other' from generate_series(1, 5)")
    return [dict(row) for row in rows]


def _expected(items: list[dict[str, Any]], sort: str) -> list[str]:
    column = sort.removeprefix("-")

    def key(item: dict[str, Any]) -> Any:
        value = item[column]
        if isinstance(value, str):
            value = value.lower().encode()
        return (value is not None, value if value is not None else 0, item["id"])

    return [str(item["id"]) for item in sorted(items, key=key, reverse=sort.startswith("-"))]


def _next(answer: Answer) -> dict[str, str] | None:
    for link in answer.headers["Link"].split(", "):
        target, _, relation = link.partition("; ")
        if relation == 'rel="next"':
            return dict(parse_qsl(urlsplit(target.strip("<>")).query, keep_blank_values=True))
    return None


async def _pages(who: Caller, query: dict[str, str] | None) -> list[str]:
    ids = []
    while query is not None:
        answer = await who.get("/items", **query)
        assert answer.status == 200, answer.body
        ids += [item["id"] for item in answer.body]
        query = _next(answer)
    return ids


@pytest.mark.parametrize("sort", SORTS)
async def test_pages_of_an_order_hold_each_item_once(
    admin: Caller, items: list[dict[str, Any]], either_way: None, sort: str
) -> None:
    expected = _expected(items, sort)
    for begin in ({"cursor": ""}, {"skip": "0"}):
        assert await _pages(admin, {"sort": sort, "status": "lost", "limit": "5", **begin}) == expected, begin


async def test_a_cursor_goes_on_where_its_row_stood_although_the_row_has_moved(admin: Caller) -> None:
    a, b, c = [await admin.make("/items", name=name) for name in "abc"]
    first = await admin.get("/items", sort="name", cursor="", limit="1")
    assert first.body == [a]
    await admin.put(f"/items/{a['id']}", {"name": "z"})
    await admin.make("/items", name="0")
    following = _next(first)
    assert following is not None
    assert (await admin.get("/items", **{**following, "limit": "2"})).body == [b, c]


async def test_a_cursor_of_another_order_is_refused(admin: Caller, items: list[dict[str, Any]]) -> None:
    first = _next(await admin.get("/items", sort="name", cursor="", limit="1"))
    assert first is not None
    by_id = _next(await admin.get("/items", cursor="", limit="1"))
    assert by_id is not None
    for sort, cursor in (("-name", first), ("sku", first), ("name", by_id)):
        answer = await admin.get("/items", sort=sort, cursor=cursor["cursor"])
        assert (answer.status, answer.pointers) == (400, ["?cursor"]), sort
    answer = await admin.get("/items", cursor=first["cursor"])
    assert (answer.status, answer.pointers) == (400, ["?cursor"])


async def test_a_page_is_found_wherever_its_items_stand_in_the_order(
    admin: Caller, connection: Connection, either_way: None
) -> None:
    await connection.execute("insert into items (name) select 'drill ' || n from generate_series(100, 499) as n")
    await connection.execute("insert into items (name) select 'washer ' || n from generate_series(100, 159) as n")
    page = await admin.get("/items", sort="name", search="washer", limit="3", skip="55")
    assert [item["name"] for item in page.body] == ["washer 155", "washer 156", "washer 157"]
    assert page.headers["X-Total-Count"] == "60"
    assert (await admin.get("/items", sort="name", search="washer", skip="60")).body == []
