"""Search and filters of the list of items."""

from typing import Any

import pytest

from tests.support.api.caller import Api, Caller, SignUp
from tests.support.database import Connection


def names(items: Any) -> list[str]:
    return [item["name"] for item in items]


async def found(who: Caller, **query: str) -> list[str]:
    answer = await who.get("/items", **query)
    assert answer.status == 200, answer.body
    assert answer.headers["X-Total-Count"] == str(len(answer.body))
    return names(answer.body)


@pytest.mark.parametrize(
    ("search", "expected"),
    [
        ("te drill", ["TE 30 core drill"]),
        ("DRILL te", ["TE 30 core drill"]),
        ("core drill", ["TE 30 core drill", "stand"]),
        ("rill cor", ["TE 30 core drill", "stand"]),
        ("drill saw", []),
        ("SN-0042", ["saw"]),
        ("hp-100", ["Big PUMP"]),
        ("HP 100", ["Big PUMP"]),
        ("(HP)100,", ["Big PUMP"]),
        ("100 pump", ["Big PUMP"]),
        ("00", ["Big PUMP", "saw"]),
        ("ump", ["Big PUMP"]),
        ("ÜBER", ["über"]),
        ("übe", ["über"]),
        ("üb", ["über"]),
        ("漢", ["漢字 100%"]),
        ("字", ["漢字 100%"]),
        ("漢字", ["漢字 100%"]),
        ("字漢", []),
        ("a_b", ["a_b"]),
        ("a b", ["a_b"]),
        ("% a_b '", ["a_b"]),
        ("back\\slash", ["back\\slash"]),
        ("zz", []),
    ],
)
async def test_each_word_must_occur_somewhere_in_the_texts(admin: Caller, search: str, expected: list[str]) -> None:
    for fields in (
        {"name": "TE 30 core drill"},
        {"name": "stand", "description": "For a core\ndrill"},
        {"name": "plate drilling jig", "sku": "x"},
        {"name": "saw", "serial_number": "SN-0042/00", "quantity": 1},
        {"name": "Big PUMP", "sku": "HP-100", "description": "00 before use"},
        {"name": "über"},
        {"name": "漢字 100%"},
        {"name": "a_b"},
        {"name": "axb"},
        {"name": "back\\slash"},
    ):
        await admin.make("/items", **fields)
    assert sorted(await found(admin, search=search)) == sorted(expected)


async def test_a_short_word_is_found_at_the_beginning_of_words_only(admin: Caller) -> None:
    for name in ("water plate", "TE 30", "(te)", "x-te9", "late"):
        await admin.make("/items", name=name)
    assert await found(admin, search="te") == ["TE 30", "(te)", "x-te9"]
    assert await found(admin, search="ate") == ["water plate", "late"]


async def test_a_search_sees_a_change_at_once_and_nothing_of_what_is_gone(admin: Caller) -> None:
    item = await admin.make("/items", name="hose", description="of rubber")
    assert await found(admin, search="rubber") == ["hose"]
    await admin.put(f"/items/{item['id']}", {"description": "of steel"})
    assert await found(admin, search="rubber") == []
    assert await found(admin, search="steel") == ["hose"]
    await admin.delete(f"/items/{item['id']}")
    assert await found(admin, search="steel") == []


async def test_a_list_is_filtered_by_each_of_its_filters(admin: Caller, connection: Connection) -> None:
    tools = await admin.make("/categories", name="Tools")
    drills = await admin.make("/categories", name="Drills", parent_id=tools["id"])
    await admin.make("/items", name="a", quantity=9, category_id=tools["id"], purchase_date="2026-01-05")
    await admin.make("/items", name="b", quantity=2, category_id=drills["id"], condition="poor")
    await admin.make("/items", name="c", quantity=1, serial_number="SN-1", min_quantity=0, purchase_date="2026-03-05")
    await connection.execute(
        "update items set updated_at = '2026-05-01Z', created_at = '2026-05-01Z' where name <> 'a'"
    )
    await connection.execute("update items set updated_at = '2026-02-01Z', created_at = '2026-01-01Z' where name = 'a'")

    for query, expected in (
        ({"serial_number": "SN-1"}, ["c"]),
        ({"serial_number": "sn-1"}, []),
        ({"low_stock": "true"}, ["b"]),
        ({"low_stock": "false"}, ["a", "c"]),
        ({"condition": "poor"}, ["b"]),
        ({"category_id": tools["id"]}, ["a"]),
        ({"category_id": tools["id"], "subcategories": "true"}, ["a", "b"]),
        ({"category_id": drills["id"], "subcategories": "true"}, ["b"]),
        ({"category_id": tools["id"], "subcategories": "false"}, ["a"]),
        ({"updated_since": "2026-02-01T00:00:00.001Z"}, ["b", "c"]),
        ({"updated_since": "2026-02-01T00:00:00Z"}, ["a", "b", "c"]),
        ({"created_since": "2026-01-01T02:00:00+01:00"}, ["b", "c"]),
        ({"purchased_since": "2026-01-05"}, ["a", "c"]),
        ({"purchased_since": "2026-01-06"}, ["c"]),
        ({"purchased_until": "2026-01-05"}, ["a"]),
        ({"purchased_until": "2025-01-05"}, []),
        ({"low_stock": "true", "search": "b", "category_id": drills["id"], "condition": "poor"}, ["b"]),
        ({"low_stock": "true", "search": "b", "category_id": drills["id"], "condition": "good"}, []),
    ):
        assert await found(admin, **query) == expected, query


async def test_subcategories_without_a_category_are_refused(admin: Caller) -> None:
    assert (await admin.get("/items", subcategories="true")).status == 400


async def test_a_foreman_finds_only_what_is_at_assigned_locations_or_at_none(
    admin: Caller, api: Api, sign_up: SignUp
) -> None:
    foreman = Caller(api, await sign_up("foreman"))
    mine, other = [await admin.make("/locations", name=name) for name in ("Mine", "Other")]
    await admin.post(f"/locations/{mine['id']}/foremen", {"user_id": str(foreman.token.user_id)})
    await admin.make("/items", name="drill here", location_id=mine["id"], serial_number="SN-1", min_quantity=2)
    await admin.make("/items", name="drill there", location_id=other["id"], serial_number="SN-2", min_quantity=2)
    await admin.make("/items", name="drill nowhere", min_quantity=2)

    for query in (
        {"search": "drill"},
        {"search": "dr"},
        {"low_stock": "true"},
        {"updated_since": "2020-01-01T00:00:00Z"},
    ):
        assert await found(foreman, **query, sort="name") == ["drill here", "drill nowhere"], query
        assert len(await found(admin, **query)) == 3, query
    assert await found(foreman, serial_number="SN-2") == []
    assert await found(foreman, search="there") == []
    assert await found(foreman, location_id=other["id"], search="drill") == []
