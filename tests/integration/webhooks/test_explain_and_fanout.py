"""The result that explain computes from the configuration, compared with what fan-out does."""

from collections import Counter
from itertools import product

import orjson

from relay.lead.fanout import FanOut
from service.platform.db import open_pool
from service.platform.ids import new_id
from service.platform.queries import load
from service.platform.settings import Settings
from service.webhooks.reasons import reason_of
from tests.support.database import Connection
from tests.support.rows import add_user, add_webhook, write_event


async def test_nothing_holds_an_event_back_if_and_only_if_fan_out_queued_it(
    settings: Settings, connection: Connection, database_url: str
) -> None:
    """Every webhook with every event."""
    here, kind = new_id(), new_id()
    types = ["item-created", "low-stock-alert", "user-login"]
    owners = [await add_user(connection, role) for role in ("foreman", "worker")]
    for owner, places, kinds, threshold in product(owners, ([], [here]), ([], [kind]), (None, 3)):
        await add_webhook(
            connection,
            settings,
            "http://127.0.0.1:9/",
            types if threshold else types[:2],
            owner_id=owner,
            locations=places,
            categories=kinds,
            threshold=threshold,
        )
    for place, category, stock in product((None, here, new_id()), (None, kind, new_id()), (None, 2, 3)):
        data = {"location_id": place, "category_id": category, "currentStock": stock}
        await write_event(connection, "low-stock-alert", orjson.dumps(data, default=str).decode())
    await write_event(connection, "item-created", "{}")
    await write_event(connection, "user-login", orjson.dumps({"userId": str(owners[1])}).decode())
    async with await open_pool(database_url, application_name="test", size=1) as pool:
        assert (await FanOut(pool).batch()).events == 29

    reasons: Counter[str] = Counter()
    events = await connection.fetch("select id from events")
    for webhook in await connection.fetch("select * from webhooks"):
        for (event_id,) in events:
            facts = await load("explain").facts.fetchrow(connection, event_id=event_id, webhook_id=webhook["id"])
            assert facts is not None
            reason = reason_of(dict(webhook), {**facts, "queued": False}).name
            assert (reason == "not_recorded") == facts["queued"], (dict(webhook), dict(facts))
            reasons[reason] += 1
    assert set(reasons) == {"not_recorded", "filtered", "not_subscribed", "not_readable_by_owner"}
