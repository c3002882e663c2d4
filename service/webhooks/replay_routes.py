"""The routes that read the log: replays and the stream."""

from contextlib import AbstractAsyncContextManager

from service.api.admission import ADMISSION
from service.api.call import Call, Nothing, Reply
from service.api.paging import NewestPage, cursor_link
from service.api.routes import PREFIX, Route, route
from service.platform.db import Pool
from service.webhooks import replay_commands, replay_reads, replays, stream
from service.webhooks.replays import ReplayBody
from service.webhooks.stream import StreamQuery


async def start_replay(call: Call[ReplayBody, Nothing]) -> Reply:
    webhook_id, ttl_seconds = call.path_id(), call.settings.webhook_event_ttl
    if call.body.dryRun:
        return Reply(await replay_reads.count(call.pool, call.user, webhook_id, call.body, ttl_seconds))
    job = await replay_commands.create(call.pool, call.user, call.origin, webhook_id, call.body, ttl_seconds)
    return Reply({"job": job}, status=202, headers={"Location": f"{PREFIX}/webhooks/{webhook_id}/replays/{job['id']}"})


async def list_replays(call: Call[Nothing, NewestPage]) -> Reply:
    page, keys = await replay_reads.list_jobs(call.pool, call.user, call.path_id(), call.query)
    link = cursor_link(call.request, call.query, keys)
    return Reply(page, headers={"Link": link} if link else {})


async def get_replay(call: Call[Nothing, Nothing]) -> Reply:
    return Reply({"job": await replay_reads.get(call.pool, call.user, call.path_id(), call.path_id("jobId"))})


async def cancel_replay(call: Call[Nothing, Nothing]) -> Reply:
    return Reply(
        {"job": await replay_commands.cancel(call.pool, call.origin, call.user, call.path_id(), call.path_id("jobId"))}
    )


async def read_stream(call: Call[Nothing, StreamQuery]) -> Reply:
    def gone() -> bool:
        transport = call.request.transport
        return transport is None or transport.is_closing()

    def costly() -> AbstractAsyncContextManager[Pool]:
        return app[ADMISSION].costly(call.pool, call.user.user_id)

    app = call.request.app
    page = await stream.read(
        call.pool, call.vault, app[stream.WATCH], call.user, call.path_id(), call.query, gone, costly
    )
    return Reply(page)


ROUTES: tuple[Route, ...] = (
    route(
        "POST",
        "/webhooks/{id}/replay",
        start_replay,
        "Send a range of events again; with dryRun, only count them",
        body=ReplayBody,
        returns=replays.JobReply,
        status=202,
        also={200: replays.Counted},
    ),
    route("GET", "/webhooks/{id}/replays", list_replays, "List replays", query=NewestPage, returns=replays.JobsReply),
    route("GET", "/webhooks/{id}/replays/{jobId}", get_replay, "Show a replay", returns=replays.JobReply),
    route("DELETE", "/webhooks/{id}/replays/{jobId}", cancel_replay, "Cancel a replay", returns=replays.JobReply),
    route(
        "GET",
        "/webhooks/{id}/stream",
        read_stream,
        "Read events from a position on",
        query=StreamQuery,
        returns=stream.StreamReply,
        refuses=(409, 410),
        plain=True,
    ),
)
