"""The webhook routes. Users manage their own webhooks; an admin manages all."""

from service.api.call import Call, Nothing, Reply, tagged
from service.api.paging import cursor_link
from service.api.routes import Route, route
from service.platform.queries import load
from service.webhooks import attempts, commands, deliveries, order, probe, shapes
from service.webhooks import explain as explanations
from service.webhooks.bodies import CreateWebhook, EventsQuery, ExplainQuery, ListQuery, UpdateWebhook
from service.webhooks.replay_routes import ROUTES as REPLAY_ROUTES

_SQL = load("webhooks")


async def create(call: Call[CreateWebhook, Nothing]) -> Reply:
    webhook, configuration = await commands.create(
        call.pool, call.vault, call.settings, call.user, call.origin, call.body
    )
    body = {"webhook": webhook, "message": "Webhook created; keep its secret, it is not shown again"}
    return tagged(body, representation=configuration, status=201)


async def list_webhooks(call: Call[Nothing, ListQuery]) -> Reply:
    active = None if call.query.active is None else call.query.active == "true"
    async with call.pool.acquire() as connection:
        if call.user.is_admin:
            rows = await _SQL.list_all.fetch(connection, active=active)
        else:
            rows = await _SQL.list_own.fetch(connection, owner_id=call.user.user_id, active=active)
        ids = [row["id"] for row in rows]
        counted = {row["webhook_id"]: row for row in await _SQL.statistics.fetch(connection, ids=ids)}
        lanes = {row["webhook_id"]: row for row in await _SQL.lanes.fetch(connection, ids=ids)}
    return Reply(
        {
            "webhooks": [
                shapes.summary(row, shapes.statistics(counted.get(row["id"])), lanes.get(row["id"])) for row in rows
            ]
        }
    )


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
    return tagged({"webhook": webhook, "message": "Webhook updated"}, representation=configuration)


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
        returns=shapes.CreatedReply,
        status=201,
    ),
    route("GET", "/webhooks", list_webhooks, "List webhooks", query=ListQuery, returns=shapes.ListReply),
    route("GET", "/webhooks/{id}", get, "Show a webhook", returns=shapes.GetReply),
    route("PUT", "/webhooks/{id}", update, "Change a webhook", body=UpdateWebhook, returns=shapes.UpdateReply),
    route("DELETE", "/webhooks/{id}", delete, "Remove a webhook", status=204),
    route(
        "GET",
        "/webhooks/{id}/events",
        list_events,
        "List a webhook's events and what became of them",
        query=EventsQuery,
        returns=shapes.EventsReply,
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
        "POST", "/webhooks/{id}/events/{eventId}/retry", retry_event, "Send an event again", returns=shapes.RetryReply
    ),
    route(
        "POST",
        "/webhooks/{id}/events/{eventId}/skip",
        skip_event,
        "Let an item's later events follow one that failed and blocks them",
        returns=shapes.RetryReply,
    ),
    route("GET", "/webhooks/{id}/stats", stats, "Show a webhook's statistics", returns=shapes.StatsReply),
    route("POST", "/webhooks/{id}/test", test, "Send a test event now", returns=shapes.TestResult, waits=True),
    *REPLAY_ROUTES,
)
