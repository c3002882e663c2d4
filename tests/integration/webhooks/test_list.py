"""The list of webhooks: whole or in pages, with their owners."""

import pytest

from tests.support.api.caller import Api, Caller, SignUp
from tests.support.database import Connection


@pytest.fixture
async def anna(api: Api, sign_up: SignUp) -> Caller:
    return Caller(api, await sign_up("worker"))


async def _webhook(owner: Caller) -> str:
    made = await owner.make("/webhooks", url="https://example.org/hook", events=["item-created"])
    id: str = made["webhook"]["id"]
    return id


def _ids(body: dict[str, list[dict[str, str]]]) -> list[str]:
    return [webhook["id"] for webhook in body["webhooks"]]


async def test_without_skip_and_limit_it_is_all_of_them(anna: Caller) -> None:
    ids = [await _webhook(anna) for _ in range(60)]
    answer = await anna.get("/webhooks")
    assert _ids(answer.body) == ids
    assert "X-Total-Count" not in answer.headers


async def test_with_skip_or_limit_it_is_a_page_that_tells_of_the_others(anna: Caller, admin: Caller) -> None:
    ids = [await _webhook(anna) for _ in range(5)]
    another = await _webhook(admin)
    await anna.put(f"/webhooks/{ids[3]}", {"active": False})

    for who, query, expected, total in (
        (anna, {"limit": "2"}, ids[:2], 5),
        (anna, {"skip": "3"}, ids[3:], 5),
        (anna, {"skip": "1", "limit": "2"}, ids[1:3], 5),
        (anna, {"skip": "9", "limit": "2"}, [], 5),
        (anna, {"skip": "0", "active": "true"}, [*ids[:3], ids[4]], 4),
        (anna, {"skip": "0", "active": "false"}, [ids[3]], 1),
        (admin, {"skip": "4", "limit": "9"}, [ids[4], another], 6),
    ):
        answer = await who.get("/webhooks", **query)
        assert (_ids(answer.body), answer.headers["X-Total-Count"]) == (expected, str(total)), query
    page = await anna.get("/webhooks", skip="2", limit="2")
    assert page.headers["Link"] == ", ".join(
        f'</api/v1/webhooks?skip={skip}&limit=2>; rel="{relation}"'
        for relation, skip in (("first", 0), ("last", 4), ("prev", 0), ("next", 4))
    )
    for query in ({"limit": "0"}, {"limit": "201"}, {"skip": "-1"}, {"cursor": ""}):
        assert (await anna.get("/webhooks", **query)).status == 400, query


async def test_each_says_whose_it_is(anna: Caller, admin: Caller, connection: Connection) -> None:
    await _webhook(anna)
    owner = {"id": str(anna.token.user_id), "username": anna.token.username}
    (webhook,) = (await anna.get("/webhooks")).body["webhooks"]
    assert webhook["owner"] == owner
    assert (await admin.get("/webhooks")).body["webhooks"] == [webhook]
    # The webhook can be sent back as it is shown, which changes nothing.
    answer = await admin.put(f"/webhooks/{webhook['id']}", webhook)
    assert answer.status == 200
    assert "owner" in answer.headers["X-Ignored-Fields"]
