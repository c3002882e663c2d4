"""Import and export of items as CSV."""

import asyncio
import csv
import io
from typing import Any

import aiohttp
import orjson
import pytest

from service.api import counts
from service.inventory import lists
from service.inventory.import_routes import MAX_BYTES, MAX_LINES
from tests.support.api.caller import Answer, Api, Caller, SignUp
from tests.support.api.outbox import take_events
from tests.support.database import Connection


async def send(who: Caller, text: str | bytes, **query: str) -> Answer:
    raw = text.encode() if isinstance(text, str) else text
    return await who.sending(Content_Type="text/csv; charset=utf-8").ask("POST", "/items/import", raw, **query)


async def names(connection: Connection) -> list[str]:
    return [row[0] for row in await connection.fetch("select name from items order by id")]


@pytest.mark.parametrize(
    "text",
    [
        'name,sku,quantity\r\n"Pump, small",A,3\r\n"say ""x""\nand more",B,0\r\n',
        '\ufeffname,sku,quantity\n"Pump, small",A,3\n\n"say ""x""\nand more",B,',
        'sku;name;quantity\rA;Pump, small;3\rB;"say ""x""\nand more";0',
    ],
)
async def test_lines_become_items_with_the_events_of_each(admin: Caller, connection: Connection, text: str) -> None:
    answer = await send(admin, text)
    assert (answer.status, answer.body) == (
        200,
        {"dry_run": False, "lines": 2, "created": 2, "updated": 0, "bad_lines": 0, "problems": []},
    )
    items = (await admin.get("/items")).body
    assert [(item["name"], item["sku"], item["quantity"]) for item in items] == [
        ("Pump, small", "A", 3),
        ('say "x"\nand more', "B", 0),
    ]
    assert [type for type, _ in await take_events(connection)] == ["item-created", "low-stock-alert"] * 2


@pytest.mark.parametrize("query", [{}, {"dry_run": "true"}])
async def test_an_answer_does_not_grow_with_what_is_wrong(admin: Caller, query: dict[str, str]) -> None:
    attributes = '"{""' + "k" * 8000 + '"":""\\u0000""}"'
    answer = await send(admin, "name,attributes\n" + f"x,{attributes}\n" * 50, **query)
    assert (answer.status, answer.body["bad_lines"]) == (200 if query else 400, 50)
    assert len(answer.body["problems"]) == 20
    assert {len(problem["detail"]) for problem in answer.body["problems"]} == {500}
    assert len(orjson.dumps(answer.body)) < 15_000


async def test_blank_lines_are_skipped_and_bounded_as_others_are(admin: Caller, connection: Connection) -> None:
    bearable = await send(admin, b"name\n" + b"\n" * (MAX_LINES - 1) + b"Pump\n\n")
    assert (bearable.status, bearable.body["lines"]) == (200, 1)
    too_many = await send(admin, b"name\nHose\n" + b"\n" * (MAX_BYTES - 10))
    assert (too_many.status, too_many.body["detail"]) == (413, f"the file has more than {MAX_LINES} blank lines")
    assert await names(connection) == ["Pump"]


async def test_an_empty_location_name_empties_the_location(admin: Caller) -> None:
    item = await admin.make("/items", name="Pump", location_name="Hall")
    for header, cells, expected in (
        ("id,location_id,location_name", f"{item['location_id']},", item["location_id"]),
        ("id,location_name", "", None),
        ("id,location_id,location_name", ",Hall", item["location_id"]),
        ("id,location_id,location_name", ",", None),
    ):
        assert (await send(admin, f"{header}\n{item['id']},{cells}\n")).status == 200
        assert (await admin.get(f"/items/{item['id']}")).body["location_id"] == expected, (header, cells)


async def test_a_line_with_an_id_changes_the_item_and_an_empty_cell_empties_what_may_be_empty(admin: Caller) -> None:
    item = await admin.make("/items", name="Pump", sku="A", quantity=7, description="old", attributes={"a": 1})
    answer = await send(admin, f'id,name,sku,quantity,attributes,created_at\n{item["id"]},Hose,,,"{{""b"":2}}",2020\n')
    assert (answer.status, answer.body["updated"]) == (200, 1)
    changed = (await admin.get(f"/items/{item['id']}")).body
    assert (changed["name"], changed["sku"], changed["quantity"]) == ("Hose", None, 7)
    assert (changed["description"], changed["attributes"], changed["created_at"]) == (
        "old",
        {"b": 2},
        item["created_at"],
    )


BAD = """name,sku,quantity,category_id,id
good,A,1,,
,B,1,,
taken,X,1,,
twice,A,1,,
number,C,many,,
category,D,1,0198c0de-7a11-7c3e-9f00-5b7d3c2a1e10,
cells,1
gone,E,1,,0198c0de-7a11-7c3e-9f00-5b7d3c2a1e10
"""


async def test_a_dry_run_names_each_bad_line_and_keeps_nothing(admin: Caller, connection: Connection) -> None:
    await admin.make("/items", name="there", sku="X")
    await take_events(connection)
    moves = await connection.fetchval("select count(*) from stock_moves")
    answer = await send(admin, BAD, dry_run="true")
    assert answer.status == 200
    assert {name: answer.body[name] for name in ("dry_run", "lines", "created", "updated", "bad_lines")} == {
        "dry_run": True,
        "lines": 8,
        "created": 1,
        "updated": 0,
        "bad_lines": 7,
    }
    assert [(one["line"], one["column"]) for one in answer.body["problems"]] == [
        (3, "name"),
        (4, "sku"),
        (5, "sku"),
        (6, "quantity"),
        (7, "category_id"),
        (8, None),
        (9, None),
    ]
    assert answer.body["problems"][5]["detail"] == "has 2 cells, and the first line names 5 columns"
    assert await names(connection) == ["there"]
    assert await take_events(connection) == []
    assert await connection.fetchval("select count(*) from stock_moves") == moves


async def test_one_bad_line_keeps_all_out(admin: Caller, connection: Connection) -> None:
    await admin.make("/items", name="there", sku="X")
    for text, status, line in (
        (BAD, 400, 3),
        ("name,sku\na,A\nb,B\nc,X\nd,A\n", 409, 4),
        ("name,sku\na,A\nb,A\n", 409, 3),
        ('name,sku\na,A\nb,"x"y\nc,C\n', 400, 3),
    ):
        answer = await send(admin, text)
        assert answer.status == status, answer.body
        assert answer.body["problems"][0]["line"] == line
        assert answer.body["detail"].startswith(f"nothing was imported: line {line}")
        assert await names(connection) == ["there"]


async def test_few_of_many_bad_lines_are_named(admin: Caller) -> None:
    answer = await send(admin, "name,quantity\n" + "x,-1\n" * 5000)
    assert (answer.status, answer.body["bad_lines"], len(answer.body["problems"])) == (400, 5000, 20)


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("", "line 1 must name the columns"),
        ("name,colour\n", "line 1: 'colour' is not a column"),
        ("name,Quantity\n", "line 1: 'Quantity' is not a column; did you mean quantity"),
        ("name,seral_number\n", "did you mean serial_number"),
        ("name,name\n", "line 1 names name twice"),
        ("sku\n", "line 1 must name the column name"),
        (b"name\nx\n\xff\n", "line 3 is not UTF-8"),
    ],
)
async def test_a_file_that_cannot_be_read_is_refused(admin: Caller, text: str | bytes, detail: str) -> None:
    answer = await send(admin, text)
    assert answer.status == 400
    assert detail in answer.body["detail"]


async def test_a_file_that_is_too_large_is_refused(admin: Caller, connection: Connection) -> None:
    assert (await send(admin, "name\n" + "x\n" * (MAX_LINES + 1))).status == 413
    assert (await send(admin, b"name\n" + b"x" * MAX_BYTES)).status == 413
    # An open quote makes the rest of the file one field, longer than any field may be.
    answer = await send(admin, 'name\n"' + "x\n" * 100_000)
    assert (answer.status, answer.body["problems"][0]["line"]) == (400, 2)
    assert await names(connection) == []


async def test_only_csv_is_taken(admin: Caller) -> None:
    assert (await admin.post("/items/import", {"name": "x"})).status == 415


async def test_a_key_makes_an_import_once(admin: Caller, connection: Connection) -> None:
    keyed = admin.sending(Idempotency_Key="once")
    first, again = await send(keyed, "name\nx\n"), await send(keyed, "name\nx\n")
    assert (first.body, again.headers["Idempotency-Replayed"]) == (again.body, "true")
    assert await names(connection) == ["x"]
    assert (await send(keyed, "name\ny\n")).status == 422


async def test_others_are_answered_while_a_large_file_is_read(admin: Caller, api: Api) -> None:
    """No slice of the work is long: the event loop turns many times during the parsing."""
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    line = "x,-1," + "y" * 900 + "\n"
    task = asyncio.create_task(turn())
    answer = await send(admin, "name,quantity,description\n" + line * MAX_LINES)
    task.cancel()
    assert (answer.status, answer.body["bad_lines"]) == (400, MAX_LINES)
    assert turns > 20


async def test_an_export_has_what_a_list_has_and_can_be_imported(
    admin: Caller, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = await admin.make("/locations", name="Depot")
    made = [
        await admin.make("/items", name="=1+1", sku="-5", quantity=3, location_id=place["id"], attributes={"a": [1]}),
        await admin.make("/items", name="'=x", description='one, "two"\r\nthree', purchase_date="2026-01-05"),
        await admin.make("/items", name="@café", serial_number="+49", quantity=1),
        await admin.make("/items", name="plain's", description="\tx"),
    ]
    answer = await admin.get("/items/export")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="items.csv"'
    assert answer.headers["X-Request-ID"]
    rows = list(csv.DictReader(io.StringIO(answer.body, newline="")))
    assert [row["name"] for row in rows] == ["'=1+1", "''=x", "'@café", "plain's"]
    assert all(not cell.startswith(("=", "+", "-", "@", "\t", "\r")) for row in rows for cell in row.values())
    assert [row["id"] for row in rows] == [item["id"] for item in made]
    assert rows[0]["attributes"] == '{"a":[1]}'

    await take_events(connection)
    again = await send(admin, answer.body)
    assert (again.status, again.body["updated"]) == (200, 4)
    assert await take_events(connection) == []
    assert (await admin.get("/items")).body == made


@pytest.mark.parametrize("way", ["few", "many"])
async def test_an_export_is_filtered_like_a_list(
    admin: Caller, connection: Connection, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    if way == "many":
        monkeypatch.setattr(counts, "MOST", 3)
        monkeypatch.setattr(lists, "STRETCH", 4)
    await connection.execute(
        "insert into items (name, status) select 'drill ' || n, (array['lost', 'retired'])[1 + n % 2]"
        "  from generate_series(1, 30) as n"
    )
    for query, expected in (
        ({}, 30),
        ({"status": "lost"}, 15),
        ({"search": "drill 3"}, 2),
        ({"search": "drill", "status": "retired"}, 15),
        ({"search": "saw"}, 0),
    ):
        body = (await admin.get("/items/export", **query)).body
        found = [row["id"] for row in csv.DictReader(io.StringIO(body, newline=""))]
        listed = [item["id"] for item in (await admin.get("/items", limit="200", **query)).body]
        assert found == listed, query
        assert len(found) == expected
    assert (await admin.get("/items/export", limit="3")).status == 400
    assert (await admin.get("/items/export", search="%")).status == 400


async def test_a_foreman_exports_what_a_foreman_reads(admin: Caller, api: Api, sign_up: SignUp) -> None:
    foreman = Caller(api, await sign_up("foreman"))
    place = await admin.make("/locations", name="Elsewhere")
    await admin.make("/items", name="there", location_id=place["id"])
    await admin.make("/items", name="nowhere")
    body = (await foreman.get("/items/export")).body
    assert [row["name"] for row in csv.DictReader(io.StringIO(body, newline=""))] == ["nowhere"]
    assert (await send(foreman, "name\nx\n")).status == 403


async def test_an_export_that_fails_on_its_way_does_not_look_complete(
    admin: Caller, connection: Connection, monkeypatch: pytest.MonkeyPatch, api: Api
) -> None:
    await connection.execute("insert into items (name) select 'x' from generate_series(1, 1200)")
    by_ids, calls = lists.by_ids, 0

    async def failing(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise RuntimeError("made up")
        return await by_ids(*arguments)

    monkeypatch.setattr(lists, "by_ids", failing)
    with pytest.raises(aiohttp.ClientError):
        await admin.get("/items/export")
