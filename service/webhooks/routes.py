"""The webhook routes. Users manage their own webhooks; an admin manages all."""

import asyncpg

from service.api.call import Call, Nothing, Reply, tagged
from service.api.counts import count, reached
from service.api.paging import cursor_link, page_headers
from service.api.routes import Route, route
from service.api.slices import in_slices
from service.platform.queries import load
from service.platform.settings import Settings
from service.webhooks import attempts, commands, deliveries, order, probe, replies, rotation, shapes
from service.webhooks import explain as explanations
from service.webhooks.bodies import (
    CreateWebhook,
    EventsQuery,
    ExplainQuery,
    ListQuery,
    RotateSecret,
    UpdateWebhook,
)
from service.webhooks.cautions import private_receiver
from service.webhooks.replay_routes import ROUTES as REPLAY_ROUTES

_SQL = load("webhooks")


async def create(call: Call[CreateWebhook, Nothing]) -> Reply:
    webhook, configuration = await commands.create(
        call.pool, call.vault, call.settings, call.user, call.origin, call.body
    )
    body: replies.CreatedReply = {
        "webhook": webhook,
        "message": "Webhook created; keep its secret, it is not shown again",
    }
    if warnings := _warnings(call.settings, call.body.url):
        body["warnings"] = warnings
    return tagged(body, representation=configuration, status=201)


async def list_webhooks(call: Call[Nothing, ListQuery]) -> Reply:
    """All that the user manages; a page of them where `skip` or `limit` is given."""
    active = None if call.query.active is None else call.query.active == "true"
    page = call.query.page
    wanted = {"active": active, "skip": page.skip if page else 0, "limit": page.limit if page else None}
    owner_id = None if call.user.is_admin else call.user.user_id
    headers = {}
    async with call.pool.acquire() as connection:
        if owner_id is None:
            rows = await _SQL.list_all.fetch(connection, **wanted)
        else:
            rows = await _SQL.list_own.fetch(connection, owner_id=owner_id, **wanted)
        ids = [row["id"] for row in rows]
        counted = {row["webhook_id"]: row for row in await _SQL.statistics.fetch(connection, ids=ids)}
        lanes = {row["webhook_id"]: row for row in await _SQL.lanes.fetch(connection, ids=ids)}
        if page is not None:
            seen = reached(page.skip, len(rows))
            total = await count(connection, _SQL.count_listed, seen=seen, owner_id=owner_id, active=active)
            headers = page_headers(call.request, page, total, full=len(rows) == page.limit)

    def shown(row: asyncpg.Record) -> shapes.Summary:
        return shapes.summary(row, shapes.statistics(counted.get(row["id"])), lanes.get(row["id"]))

    return Reply({"webhooks": await in_slices(rows, shown)}, headers=headers)


async def get(call: Call[Nothing, Nothing]) -> Reply:
    webhook_id = call.path_id()
    async with call.pool.acquire() as connection:
        row = commands.own(await _SQL.get.fetchrow(connection, id=webhook_id), call.user)
        counted = shapes.statistics(await _SQL.statistics.fetchrow(connection, ids=[webhook_id]))
        lane = await _SQL.lanes.fetchrow(connection, ids=[webhook_id])
        blocked = await order.count_blocked(connection, webhook_id)
    body = {"webhook": shapes.detail(row, commands.open_headers(call.vault, row), counted, lane, blocked)}
    return tagged(body, representation=shapes.configuration(row))


async def update(call: Call[UpdateWebhook, Nothing]) -> Reply:
    webhook, configuration = await commands.update(
        call.pool, call.vault, call.settings, call.user, call.origin, call.path_id(), call.body
    )
    body: replies.UpdateReply = {"webhook": webhook, "message": "Webhook updated"}
    if warnings := _warnings(call.settings, call.body.url):
        body["warnings"] = warnings
    return tagged(body, representation=configuration)


def _warnings(settings: Settings, url: str | None) -> list[replies.Caution]:
    """`url` is None where it was not given."""
    why = None if url is None else private_receiver(url, settings.webhook_allowed_networks)
    return [] if why is None else [{"pointer": "/url", "detail": why}]


async def rotate_secret(call: Call[RotateSecret, Nothing]) -> Reply:
    webhook, configuration = await rotation.rotate(
        call.pool, call.vault, call.user, call.origin, call.path_id(), call.body.overlapSeconds
    )
    body = {"webhook": webhook, "message": "The secret has been rotated; keep the new one, it is not shown again"}
    return tagged(body, representation=configuration)


async def delete(call: Call[Nothing, Nothing]) -> Reply:
    await commands.delete(call.pool, call.user, call.origin, call.path_id())
    return Reply(status=204)


async def list_events(call: Call[Nothing, EventsQuery]) -> Reply:
    query = call.query
    page, positions = await deliveries.list_deliveries(
        call.pool,
        call.user,
        call.path_id(),
        call.settings.webhook_event_ttl,
        status=query.status,
        before=query.before,
        event_id=query.event_id,
        skip=query.skip,
        limit=query.limit,
    )
    link = cursor_link(call.request, query, positions)
    return Reply(page, headers={"Link": link} if link else {})


async def get_event(call: Call[Nothing, Nothing]) -> Reply:
    return Reply(
        {"event": await deliveries.get_delivery(call.pool, call.user, call.path_id(), call.path_id("eventId"))}
    )


async def explain(call: Call[Nothing, ExplainQuery]) -> Reply:
    return Reply(await explanations.explain(call.pool, call.user, call.query.webhook, call.path_id()))


async def retry_event(call: Call[Nothing, Nothing]) -> Reply:
    event = await deliveries.retry(
        call.pool, call.user, call.origin, call.path_id(), call.path_id("eventId"), call.settings.webhook_event_ttl
    )
    return Reply({"event": event})


async def skip_event(call: Call[Nothing, Nothing]) -> Reply:
    event = await deliveries.skip(
        call.pool, call.user, call.origin, call.path_id(), call.path_id("eventId"), call.settings.webhook_event_ttl
    )
    return Reply({"event": event})


async def stats(call: Call[Nothing, Nothing]) -> Reply:
    return Reply(
        {"stats": await deliveries.stats(call.pool, call.user, call.path_id(), call.settings.webhook_event_ttl)}
    )


async def test(call: Call[Nothing, Nothing]) -> Reply:
    return Reply(await probe.test(call.pool, call.user, call.origin, call.path_id()))


ROUTES: tuple[Route, ...] = (
    route(
        "POST",
        "/webhooks",
        create,
        "Subscribe a URL to events",
        body=CreateWebhook,
        returns=replies.CreatedReply,
        status=201,
    ),
    route("GET", "/webhooks", list_webhooks, "List webhooks", query=ListQuery, returns=replies.ListReply),
    route("GET", "/webhooks/{id}", get, "Show a webhook", returns=replies.GetReply),
    route("PUT", "/webhooks/{id}", update, "Change a webhook", body=UpdateWebhook, returns=replies.UpdateReply),
    route(
        "POST",
        "/webhooks/{id}/secret/rotate",
        rotate_secret,
        "Make a webhook another secret",
        body=RotateSecret,
        returns=replies.CreatedReply,
    ),
    route("DELETE", "/webhooks/{id}", delete, "Remove a webhook", status=204),
    route(
        "GET",
        "/webhooks/{id}/events",
        list_events,
        "List a webhook's events and what became of them",
        query=EventsQuery,
        returns=replies.EventsReply,
    ),
    route(
        "GET",
        "/webhooks/{id}/events/{eventId}",
        get_event,
        "Show an event's delivery with each attempt",
        returns=attempts.DeliveryReply,
    ),
    route(
        "GET",
        "/events/{id}/explain",
        explain,
        "Say why an event was or was not delivered to a webhook",
        query=ExplainQuery,
        returns=explanations.Explanation,
    ),
    route(
        "POST", "/webhooks/{id}/events/{eventId}/retry", retry_event, "Send an event again", returns=replies.RetryReply
    ),
    route(
        "POST",
        "/webhooks/{id}/events/{eventId}/skip",
        skip_event,
        "Let an item's later events follow one that failed and blocks them",
        returns=replies.RetryReply,
    ),
    route("GET", "/webhooks/{id}/stats", stats, "Show a webhook's statistics", returns=replies.StatsReply),
    route("POST", "/webhooks/{id}/test", test, "Send a test event now", returns=shapes.TestResult, waits=True),
    *REPLAY_ROUTES,
)
