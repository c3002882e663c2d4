"""Retry schedules and descriptions over HTTP, and a relay that keeps to a schedule."""

from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from service.platform.settings import Settings
from service.server.app import make_app
from tests.support.api.caller import Api, Caller, SignUp
from tests.support.api.webhooks import URL, make_webhook
from tests.support.database import Connection
from tests.support.receivers.receiver import Arrival, Receiver
from tests.support.relay.processes import Relays
from tests.support.waiting import until


async def test_a_schedule_is_kept_merged_and_cleared(owner: Caller) -> None:
    webhook = await make_webhook(owner, retryPolicy={"schedule": "standard", "maxRetries": 9})
    path = f"/webhooks/{webhook['id']}"
    standard = {"maxRetries": 9, "retryDelay": 5000, "schedule": "standard"}
    assert webhook["retryPolicy"] == standard
    assert (await owner.get(path)).body["webhook"]["retryPolicy"] == standard
    changes: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({}, standard),
        (standard, standard),
        ({"retryDelay": 100}, {**standard, "retryDelay": 100}),
        ({"schedule": [100, 86_400_000]}, {"maxRetries": 2, "retryDelay": 100, "schedule": [100, 86_400_000]}),
        ({"retryDelay": 200}, {"maxRetries": 2, "retryDelay": 200, "schedule": [100, 86_400_000]}),
        ({"schedule": None}, {"maxRetries": 2, "retryDelay": 200}),
        ({"maxRetries": 5}, {"maxRetries": 5, "retryDelay": 200}),
        ({"schedule": [300]}, {"maxRetries": 1, "retryDelay": 200, "schedule": [300]}),
        ({"schedule": None, "maxRetries": 0}, {"maxRetries": 0, "retryDelay": 200}),
    ]
    for sent, shown in changes:
        answer = await owner.put(path, {"retryPolicy": sent})
        assert (answer.status, answer.body["webhook"]["retryPolicy"]) == (200, shown)
        assert (await owner.get(path)).body["webhook"]["retryPolicy"] == shown


async def test_a_schedule_that_does_not_fit_is_refused_with_its_place(
    settings: Settings, database_url: str, sign_up: SignUp
) -> None:
    settings = settings.model_copy(update={"webhook_event_ttl": 2 * 86_400})
    async with TestClient(TestServer(make_app(settings, database_url))) as api:
        owner = Caller(api, await sign_up("worker"))
        webhook = await make_webhook(owner, retryPolicy={"schedule": [100, 200]})
        refused: list[tuple[dict[str, Any], str]] = [
            ({"schedule": [100, 99]}, "/retryPolicy/schedule/1"),
            ({"schedule": "hourly"}, "/retryPolicy/schedule"),
            ({"schedule": []}, "/retryPolicy/schedule"),
            ({"schedule": [100, 200, 300], "maxRetries": 2}, "/retryPolicy/maxRetries"),
            # Each of these is longer than an event is kept here.
            ({"schedule": "standard"}, "/retryPolicy/schedule"),
            ({"schedule": [86_400_000, 86_400_000, 100]}, "/retryPolicy/schedule"),
        ]
        for policy, pointer in refused:
            for answer in (
                await owner.post("/webhooks", {"url": URL, "events": ["item-created"], "retryPolicy": policy}),
                await owner.put(f"/webhooks/{webhook['id']}", {"retryPolicy": policy}),
            ):
                assert (answer.status, answer.pointers) == (400, [pointer])
        alone = await owner.put(f"/webhooks/{webhook['id']}", {"retryPolicy": {"maxRetries": 5}})
        assert (alone.status, alone.pointers) == (400, ["/retryPolicy/maxRetries"])
        assert (await owner.get(f"/webhooks/{webhook['id']}")).body["webhook"]["retryPolicy"]["schedule"] == [100, 200]


async def test_a_description_is_kept_changed_and_cleared(owner: Caller) -> None:
    webhook = await make_webhook(owner, description="Orders ½ 漢字, to the ERP")
    path = f"/webhooks/{webhook['id']}"
    assert webhook["description"] == "Orders ½ 漢字, to the ERP"
    for sent, shown in (
        ({"timeout": 5000}, webhook["description"]),
        ({"description": "x" * 500}, "x" * 500),
        ({"description": None}, None),
    ):
        assert (await owner.put(path, sent)).body["webhook"]["description"] == shown
        assert (await owner.get(path)).body["webhook"]["description"] == shown
    too_long = await owner.put(path, {"description": "x" * 501})
    assert (too_long.status, too_long.pointers) == (400, ["/description"])


async def test_a_relay_keeps_to_the_schedule_that_it_finds(
    api: Api, sign_up: SignUp, relays: Relays, receiver: Receiver, connection: Connection
) -> None:
    async def refuse(_: Arrival) -> web.StreamResponse:
        return web.Response(status=500)

    receiver.answer = refuse
    admin = Caller(api, await sign_up("admin"))
    # By the other fields of their policies, the first webhook would get one retry after a minute,
    # and the second none.
    listed = await make_webhook(
        admin,
        url=f"{receiver.url}/listed",
        events=["category-created"],
        retryPolicy={"retryDelay": 60000, "schedule": [100, 200]},
    )
    laddered = await make_webhook(
        admin, url=f"{receiver.url}/laddered", events=["category-created"], retryPolicy={"maxRetries": 0}
    )
    await admin.put(f"/webhooks/{laddered['id']}", {"retryPolicy": {"schedule": "standard"}})
    await relays.start()
    await admin.make("/categories", name="Pumps")
    await receiver.wait_for(lambda: [arrival.path for arrival in receiver.arrivals].count("/listed") == 3)

    async def outcomes(webhook: dict[str, Any]) -> list[str]:
        rows = await connection.fetch(
            "select outcome from attempts where webhook_id = $1::text::uuid order by attempt", webhook["id"]
        )
        return [row["outcome"] for row in rows]

    async def recorded() -> bool:
        return await outcomes(listed) == ["retry", "retry", "failed"] and await outcomes(laddered) == ["retry"]

    await until(recorded, "one has failed after the schedule's two retries, the other waits for its first")
