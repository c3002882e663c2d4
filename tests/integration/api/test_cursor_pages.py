"""Pages by cursor, which do not shift while rows are added and removed."""

import base64
from uuid import UUID

import orjson
import pytest

from service.api.paging import IdPage, NewestPage, PositionPage, SortedPage
from service.api.routes import Route
from service.server.app import ROUTES
from tests.support.api.caller import Answer, Caller
from tests.support.database import Connection
from tests.support.relay.log import RelayLog

CURSOR_PAGES = (IdPage, NewestPage, PositionPage, SortedPage)


def _next(answer: Answer) -> str | None:
    """The path of the page after this one."""
    for link in answer.headers.get("Link", "").split(", "):
        target, _, relation = link.partition("; ")
        if relation == 'rel="next"':
            return target.strip("<>").removeprefix("/api/v1")
    return None


def _made_up(raw: bytes) -> str:
    """A cursor made by the client itself."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@pytest.mark.parametrize("path", [entry.path for entry in ROUTES if issubclass(entry.query, CURSOR_PAGES)])
async def test_every_list_begins_with_an_empty_cursor(admin: Caller, path: str) -> None:
    kind = path.split("/")[1]
    if kind == "webhooks":
        id = (await admin.make("/webhooks", url="https://example.org/hook", events=["item-created"]))["webhook"]["id"]
    elif kind == "users":
        id = str(admin.token.user_id)
    else:
        id = (await admin.make("/items", name="A"))["id"]
    path = path.replace("{id}", id)
    # An empty cursor begins pages by cursor, which cannot be combined with a skip.
    assert (await admin.get(path, cursor="")).status == 200
    assert (await admin.get(path, skip="1")).status == 200
    assert (await admin.get(path, cursor="", skip="1")).status == 400


@pytest.mark.parametrize(
    "entry",
    [entry for entry in ROUTES if entry.method == "GET" and "{" not in entry.path],
    ids=lambda entry: entry.path,
)
async def test_a_parameter_that_is_empty_counts_as_not_given(admin: Caller, entry: Route) -> None:
    names = set(entry.query.model_fields) - {"cursor"}
    if names:
        assert (await admin.get(entry.path, **dict.fromkeys(names, ""))).status == 200


@pytest.mark.parametrize("path", ["/items", "/locations", "/categories"])
async def test_every_row_comes_once_although_rows_come_and_go_meanwhile(admin: Caller, path: str) -> None:
    made = [await admin.make(path, name=f"{number}") for number in range(5)]
    page = await admin.get(path, cursor="", limit="2")
    assert [row["name"] for row in page.body] == ["0", "1"]
    assert page.headers["X-Total-Count"] == "5"
    assert f'<{"/api/v1" + path}?cursor=&limit=2>; rel="first"' in page.headers["Link"]

    # With skip, the next page would now begin one row further on.
    await admin.delete(f"{path}/{made[1]['id']}")
    await admin.make(path, name="5")
    seen = []
    while (target := _next(page)) is not None:
        page = await admin.get(target)
        assert page.status == 200
        seen += [row["name"] for row in page.body]
    assert seen == ["2", "3", "4", "5"]


async def test_filters_go_with_the_cursor(admin: Caller) -> None:
    for number in range(3):
        await admin.make("/items", name=f"lost {number}", status="lost")
        await admin.make("/items", name=f"other {number}")
    page = await admin.get("/items", status="lost", cursor="", limit="2")
    target = _next(page)
    assert target is not None
    assert [item["name"] for item in (await admin.get(target)).body] == ["lost 2"]


@pytest.mark.parametrize("path", ["/items", "/locations", "/categories"])
async def test_a_cursor_that_was_not_given_out_is_refused(admin: Caller, path: str) -> None:
    for cursor in ("x", "aW52YWxpZA", "\x00", "01890000-0000-7000-8000-000000000000"):
        answer = await admin.get(path, cursor=cursor)
        assert answer.status == 400, cursor
    assert (await admin.get(path, cursor="x")).pointers == ["?cursor"]
    assert (await admin.get(path, cursor="", skip="1")).status == 400


@pytest.mark.parametrize(
    ("sort", "key"),
    [
        ("quantity", 2**31),
        ("quantity", -(2**63)),
        ("quantity", 2**64 - 1),
        ("quantity", True),
        ("name", "a\x00"),
        ("sku", "\x00"),
        ("purchase_date", "infinity"),
        ("created_at", "0001-01-01T00:00:00+23:00"),
    ],
)
async def test_a_place_that_no_row_can_have_is_refused(admin: Caller, sort: str, key: object) -> None:
    for order in (sort, f"-{sort}"):
        answer = await admin.get(
            "/items", sort=order, cursor=_made_up(b"s" + orjson.dumps([order, key, UUID(int=1).hex]))
        )
        assert (answer.status, answer.pointers) == (400, ["?cursor"])


@pytest.mark.parametrize(
    ("sort", "key"),
    [
        ("quantity", 2**31 - 1),
        ("name", "\U0001f600"),
        ("purchase_date", "0001-01-01"),
        ("purchase_date", "9999-12-31"),
        ("created_at", "0001-01-01T00:00:00+00:00"),
        ("created_at", "9999-12-31T23:59:59.999999+00:00"),
    ],
)
async def test_a_place_at_the_end_of_what_rows_may_have_is_taken(admin: Caller, sort: str, key: object) -> None:
    for order in (sort, f"-{sort}"):
        cursor = _made_up(b"s" + orjson.dumps([order, key, UUID(int=1).hex]))
        assert (await admin.get("/items", sort=order, cursor=cursor)).status == 200


async def test_a_position_or_a_time_that_the_database_cannot_hold_is_refused(admin: Caller) -> None:
    webhook = (await admin.make("/webhooks", url="https://example.org/hook", events=["item-created"]))["webhook"]
    events = f"/webhooks/{webhook['id']}/events"
    for number in (2**63, 2**64 - 1):
        assert (await admin.get(events, cursor=_made_up(b"p" + number.to_bytes(8, "big") + bytes(16)))).status == 400
    assert (await admin.get(events, cursor=_made_up(b"p" + (2**63 - 1).to_bytes(8, "big") + bytes(16)))).status == 200
    for number in (-(2**63), 2**63 - 1):
        cursor = _made_up(b"n" + number.to_bytes(8, "big", signed=True) + bytes(16))
        assert (await admin.get("/audit", cursor=cursor)).status == 400


async def test_a_webhooks_events_page_by_position(admin: Caller, connection: Connection) -> None:
    created = await admin.make("/webhooks", url="https://example.org/hook", events=["item-created"])
    webhook_id = created["webhook"]["id"]
    path = f"/webhooks/{webhook_id}/events"
    log = RelayLog(connection)
    events = [str((await log.event(webhook_id)).id) for _ in range(5)]
    page = await admin.get(path, limit="2")
    seen = [event["id"] for event in page.body["events"]]
    await log.event(webhook_id)
    while (target := _next(page)) is not None:
        page = await admin.get(target)
        assert (page.body["total"], page.body["skip"]) == (6, 0)
        seen += [event["id"] for event in page.body["events"]]
    assert seen == events[::-1]
    assert (await admin.get(path, cursor="x")).status == 400


async def test_transfers_checkouts_users_and_a_search_have_cursors_too(admin: Caller) -> None:
    here, there = [(await admin.make("/locations", name=name))["id"] for name in ("Here", "There")]
    item = await admin.make("/items", name="Pump 0", quantity=9, location_id=here)
    asked = {"item_id": item["id"], "from_location_id": here, "to_location_id": there, "quantity": 1}
    made: dict[str, list[str]] = {
        "/items?search=pump": [item["id"]],
        "/transfers?": [],
        "/checkouts?": [],
        "/users?role=worker": [],
    }
    for number in range(3):
        made["/items?search=pump"].append((await admin.make("/items", name=f"Pump {number + 1}"))["id"])
        made["/transfers?"].append((await admin.make("/transfers", **asked))["id"])
        made["/checkouts?"].append((await admin.make("/checkouts/checkout", item_id=item["id"], quantity=1))["id"])
        name = f"anna{number}"
        user = await admin.make("/users", username=name, email=f"{name}@example.org", password="long enough to be one")
        made["/users?role=worker"].append(user["id"])
    for path, ids in made.items():
        seen, target = [], f"{path}&cursor=&limit=1"
        while target:
            page = await admin.get(target)
            seen += [row["id"] for row in page.body]
            target = _next(page) or ""
        assert seen == ids, path


async def test_lists_of_what_happened_go_back_from_the_newest_by_cursor(admin: Caller) -> None:
    places = [(await admin.make("/locations", name=f"{number}"))["id"] for number in range(4)]
    item = await admin.make("/items", name="Pump", location_id=places[0])
    for place in places[1:]:
        await admin.put(f"/items/{item['id']}/location", {"location_id": place})
    for path, key in (
        (f"/audit?entity=item&entity_id={item['id']}", "id"),
        (f"/items/{item['id']}/location-history?", "to_location_id"),
    ):
        newest_first = [row[key] for row in (await admin.get(path)).body]
        assert len(newest_first) >= 4
        page = await admin.get(f"{path}&cursor=&limit=1")
        # New entries come before the first page, so the other pages do not move.
        await admin.put(f"/items/{item['id']}/location", {"location_id": None})
        await admin.put(f"/items/{item['id']}/location", {"location_id": places[3]})
        seen = [row[key] for row in page.body]
        while (target := _next(page)) is not None:
            page = await admin.get(target)
            seen += [row[key] for row in page.body]
        assert seen == newest_first
    sessions = await admin.get("/auth/sessions?cursor=&limit=1")
    assert (len(sessions.body), len((await admin.get(_next(sessions) or "")).body)) == (1, 0)


@pytest.mark.parametrize("cursor", ["x", "aXg", "bn//", "bn__________________________________", "\u00e9"])
@pytest.mark.parametrize("path", ["/audit", "/auth/sessions", "/items"])
async def test_a_cursor_of_another_list_or_of_none_is_refused(admin: Caller, path: str, cursor: str) -> None:
    assert (await admin.get(path, cursor=cursor)).status == 400
