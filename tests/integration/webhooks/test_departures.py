"""A location filter that also passes events of items that leave its locations."""

import json
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from service.delivery.subject import departure, is_departure, subject_of
from service.platform.db import Pool
from tests.support.api.caller import Api, Caller, SignUp
from tests.support.api.webhooks import make_webhook
from tests.support.database import Connection
from tests.support.relay.fan_out import BOTH_WAYS, drain
from tests.support.rows import write_event


@dataclass(frozen=True, slots=True)
class Scene:
    """Two locations, and a webhook of each kind for the location `here`."""

    admin: Caller
    pool: Pool
    connection: Connection
    here: str
    there: str
    plain: str
    leaving: str

    async def got(self, event_type: str = "item-updated") -> dict[str, list[Any]]:
        """The item locations in the events that each webhook got, by its name, once all is fanned
        out."""
        await drain(self.pool)
        rows = await self.connection.fetch(
            "select webhook_id, data from deliveries join events using (position) where type = $1 order by position",
            event_type,
        )
        found: dict[str, list[Any]] = {"plain": [], "leaving": []}
        for row in rows:
            name = {self.plain: "plain", self.leaving: "leaving"}[str(row["webhook_id"])]
            found[name].append(json.loads(row["data"])["location_id"])
        return found


@pytest.fixture
async def scene(api: Api, sign_up: SignUp, pool: Pool, connection: Connection) -> Scene:
    admin = Caller(api, await sign_up("admin"))
    here, there = [(await admin.make("/locations", name=name))["id"] for name in ("Here", "There")]
    events = ["item-created", "item-updated", "item-deleted", "low-stock-alert"]
    plain = await make_webhook(admin, events=events, filters={"locations": [here]})
    leaving = await make_webhook(admin, events=events, filters={"locations": [here], "leaving": True})
    return Scene(admin, pool, connection, here, there, plain["id"], leaving["id"])


@pytest.mark.usefixtures("either_way")
async def test_an_item_that_is_moved_out_is_told_to_those_who_ask_for_it(scene: Scene) -> None:
    item = await scene.admin.make("/items", name="Drill", quantity=9, location_id=scene.here)
    path = f"/items/{item['id']}"
    assert (await scene.admin.put(f"{path}/location", {"location_id": scene.there})).status == 200
    assert await scene.got() == {"plain": [], "leaving": [scene.there]}
    # Neither webhook gets events while the item is elsewhere. Both get the event of its return.
    await scene.admin.put(path, {"quantity": 8})
    await scene.admin.put(path, {"quantity": 7, "location_id": scene.here})
    assert await scene.got() == {"plain": [scene.here], "leaving": [scene.there, scene.here]}


@pytest.mark.usefixtures("either_way")
async def test_an_item_without_a_location_concerns_every_location_filter(scene: Scene) -> None:
    item = await scene.admin.make("/items", name="Drill", quantity=9, location_id=scene.here)
    path = f"/items/{item['id']}"
    await scene.admin.put(path, {"location_id": None})
    await scene.admin.put(path, {"quantity": 8})
    assert await scene.got() == {"plain": [None, None], "leaving": [None, None]}
    # A move from nowhere to elsewhere leaves no location.
    await scene.admin.put(path, {"location_id": scene.there})
    assert await scene.got() == {"plain": [None, None], "leaving": [None, None]}


async def test_a_unit_that_comes_back_elsewhere_leaves_its_location(scene: Scene) -> None:
    item = await scene.admin.make("/items", name="Drill", quantity=1, serial_number="S-1", location_id=scene.here)
    out = await scene.admin.make("/checkouts/checkout", item_id=item["id"], quantity=1)
    await scene.admin.post(f"/checkouts/{out['id']}/checkin", {"location_id": scene.there})
    assert await scene.got() == {"plain": [scene.here], "leaving": [scene.here, scene.there]}


@pytest.mark.parametrize("routed", BOTH_WAYS)
async def test_rows_of_psql_and_of_the_service_are_matched_alike(scene: Scene, routed: bool) -> None:
    data = {
        "itemId": str(uuid4()),
        "location_id": scene.there,
        "changes": {"location_id": {"from": scene.here.upper(), "to": scene.there}},
    }
    await write_event(scene.connection, "item-updated", json.dumps(data), routed=routed)
    for odd in ({}, {"location_id": None}, {"location_id": {"from": "x"}}, {"location_id": {"from": 5}}, 5):
        changed = json.dumps({**data, "changes": odd})
        await write_event(scene.connection, "item-updated", changed, routed=routed)
    assert await scene.got() == {"plain": [], "leaving": [scene.there]}


async def test_the_stream_a_replay_and_an_explanation_agree_with_fan_out(scene: Scene) -> None:
    item = await scene.admin.make("/items", name="Drill", quantity=9, location_id=scene.here)
    await scene.admin.put(f"/items/{item['id']}", {"location_id": scene.there})
    await drain(scene.pool)
    event_id = await scene.connection.fetchval("select id from events where type = 'item-updated'")
    for webhook, count, reason in ((scene.plain, 1, "filtered"), (scene.leaving, 2, "pending")):
        stream = await scene.admin.get(f"/webhooks/{webhook}/stream", after="earliest")
        assert len(stream.body["events"]) == count
        explained = (await scene.admin.get(f"/events/{event_id}/explain", webhook=webhook)).body
        assert explained["reason"] == reason
    assert (await scene.admin.get(f"/events/{event_id}/explain", webhook=scene.plain)).body["filter"] == {
        "name": "locations",
        "wanted": [scene.here],
        "found": [scene.there],
    }
    # This is the answer as if the webhook had asked for departures at that time.
    both = {"locations": [scene.here], "leaving": True}
    await scene.admin.put(f"/webhooks/{scene.plain}", {"filters": both})
    explained = (await scene.admin.get(f"/events/{event_id}/explain", webhook=scene.plain)).body
    assert explained["reason"] == "not_recorded"
    body = {"since": "2000-01-01T00:00:00Z", "status": "missing", "types": ["item-updated"], "dryRun": True}
    assert (await scene.admin.post(f"/webhooks/{scene.plain}/replay", body)).body["count"] == 1


async def test_who_may_not_read_where_it_went_is_not_told(scene: Scene, api: Api, sign_up: SignUp) -> None:
    foreman = Caller(api, await sign_up("foreman"))
    await scene.admin.post(f"/locations/{scene.here}/foremen", {"user_id": str(foreman.token.user_id)})
    filters = {"locations": [scene.here], "leaving": True}
    webhook = await make_webhook(foreman, events=["item-updated"], filters=filters)
    item = await scene.admin.make("/items", name="Drill", quantity=9, location_id=scene.here)
    await scene.admin.put(f"/items/{item['id']}", {"quantity": 8})
    await scene.admin.put(f"/items/{item['id']}", {"location_id": scene.there})
    await drain(scene.pool)
    queued = "select count(*) from deliveries where webhook_id = $1"
    assert await scene.connection.fetchval(queued, UUID(webhook["id"])) == 1


async def test_the_choice_is_shown_where_it_was_made_and_goes_with_locations_only(scene: Scene) -> None:
    shown = {webhook["id"]: webhook["filters"] for webhook in (await scene.admin.get("/webhooks")).body["webhooks"]}
    nothing_else: dict[str, Any] = {"categories": [], "minStockThreshold": None}
    assert shown[scene.leaving] == {"locations": [scene.here], **nothing_else, "leaving": True}
    assert shown[scene.plain] == {"locations": [scene.here], **nothing_else}
    path = f"/webhooks/{scene.leaving}"
    same = await scene.admin.put(path, {"filters": shown[scene.leaving]})
    assert same.body["webhook"]["filters"] == shown[scene.leaving]
    alone: tuple[dict[str, Any], ...] = ({"leaving": True}, {"leaving": "true", "locations": []})
    for filters in alone:
        refused = await scene.admin.put(path, {"filters": filters})
        assert (refused.status, refused.pointers) == (400, ["/filters/leaving"])
    off: tuple[dict[str, Any], ...] = ({"leaving": False}, {"locations": [scene.here], "leaving": None})
    for filters in off:
        changed = (await scene.admin.put(path, {"filters": filters})).body["webhook"]["filters"]
        assert "leaving" not in changed


@hypothesis_settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(locations=st.lists(st.uuids(), min_size=1, max_size=20))
async def test_the_database_makes_the_same_departures(locations: list[UUID], pool: Pool) -> None:
    made = await pool.fetchval("select departures($1::uuid[])", locations)
    assert [str(place) for place in made] == [departure(str(place)) for place in locations]
    assert all(is_departure(place) for place in made)


def test_a_departure_is_among_the_places_of_a_move_only() -> None:
    here, there = str(uuid4()), str(uuid4())
    moved: dict[str, Any] = {"location_id": there, "changes": {"location_id": {"from": here, "to": there}}}
    assert subject_of("item-updated", json.dumps(moved), None).location_ids == (there, departure(here))
    moved["location_id"] = None
    assert subject_of("item-updated", json.dumps(moved), None).location_ids == ()
