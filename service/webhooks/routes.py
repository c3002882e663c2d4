"""The webhook routes. Users manage their own webhooks; an admin manages all."""

from service.api.call import Call, Nothing, Reply, tagged
from service.api.paging import cursor_link, page_headers
from service.api.routes import Route, route
from service.platform.settings import Settings
from service.webhooks import (
    attempts,
    commands,
    delivery_commands,
    delivery_reads,
    probe,
    reads,
    replies,
    rotation,
    shapes,
)
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


async def create(call: Call[CreateWebhook, Nothing]) -> Reply:
    webhook, configuration = await commands.create(
        call.pool, call.origin, call.vault, call.settings, call.user, call.body
    )
    body: replies.CreatedReply = {
        "webhook": webhook,
        "message": "Webhook created; keep its secret, it is not shown again",
    }
    if warnings := _warnings(call.settings, call.body.url):
        body["warnings"] = warnings
    return tagged(body, representation=configuration, status=201)


async def list_webhooks(call: Call[Nothing, ListQuery]) -> Reply:
    """All webhooks that the user manages, or a page of them if `skip` or `limit` is given."""
    webhooks, total = await reads.list_webhooks(call.pool, call.user, call.query)
    page = call.query.page
    if page is None or total is None:
        return Reply({"webhooks": webhooks})
    headers = page_headers(call.request, page, total, full=len(webhooks) == page.limit)
    return Reply({"webhooks": webhooks}, headers=headers)


async def get(call: Call[Nothing, Nothing]) -> Reply:
    webhook, configuration = await reads.get_webhook(call.pool, call.vault, call.user, call.path_id())
    return tagged({"webhook": webhook}, representation=configuration)


async def update(call: Call[UpdateWebhook, Nothing]) -> Reply:
    webhook, configuration = await commands.update(
        call.pool, call.origin, call.vault, call.settings, call.user, call.path_id(), call.body
    )
    body: replies.UpdateReply = {"webhook": webhook, "message": "Webhook updated"}
    if warnings := _warnings(call.settings, call.body.url):
        body["warnings"] = warnings
    return tagged(body, representation=configuration)


def _warnings(settings: Settings, url: str | None) -> list[replies.Caution]:
    """`url` is None if it was not given."""
    why = None if url is None else private_receiver(url, settings.webhook_allowed_networks)
    return [] if why is None else [{"pointer": "/url", "detail": why}]


async def rotate_secret(call: Call[RotateSecret, Nothing]) -> Reply:
    webhook, configuration = await rotation.rotate(
        call.pool, call.origin, call.vault, call.user, call.path_id(), call.body.overlapSeconds
    )
    body = {"webhook": webhook, "message": "The secret has been rotated; keep the new one, it is not shown again"}
    return tagged(body, representation=configuration)


async def delete(call: Call[Nothing, Nothing]) -> Reply:
    await commands.delete(call.pool, call.origin, call.user, call.path_id())
    return Reply(status=204)


async def list_events(call: Call[Nothing, EventsQuery]) -> Reply:
    query = call.query
    page, positions = await delivery_reads.list_deliveries(
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
        {"event": await delivery_reads.get_delivery(call.pool, call.user, call.path_id(), call.path_id("eventId"))}
    )


async def explain(call: Call[Nothing, ExplainQuery]) -> Reply:
    return Reply(await explanations.explain(call.pool, call.user, call.query.webhook, call.path_id()))


async def retry_event(call: Call[Nothing, Nothing]) -> Reply:
    event = await delivery_commands.retry(
        call.pool, call.origin, call.user, call.path_id(), call.path_id("eventId"), call.settings.webhook_event_ttl
    )
    return Reply({"event": event})


async def skip_event(call: Call[Nothing, Nothing]) -> Reply:
    event = await delivery_commands.skip(
        call.pool, call.origin, call.user, call.path_id(), call.path_id("eventId"), call.settings.webhook_event_ttl
    )
    return Reply({"event": event})


async def stats(call: Call[Nothing, Nothing]) -> Reply:
    return Reply(
        {"stats": await delivery_reads.stats(call.pool, call.user, call.path_id(), call.settings.webhook_event_ttl)}
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
        "Rotate a webhook's secret",
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
        "Skip a failed event that blocks the later events of its item",
        returns=replies.RetryReply,
    ),
    route("GET", "/webhooks/{id}/stats", stats, "Show a webhook's statistics", returns=replies.StatsReply),
    route("POST", "/webhooks/{id}/test", test, "Send a test event now", returns=shapes.TestResult, waits=True),
    *REPLAY_ROUTES,
)
