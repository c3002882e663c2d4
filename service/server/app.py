"""The API as an aiohttp application."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Literal

from aiohttp import web
from pydantic import BaseModel
from structlog.contextvars import bound_contextvars

from service.api.admission import ADMISSION, Admission, reads_at_once
from service.api.call import DATABASE, POOL, REQUEST_ID, SETTINGS, VAULT, Call, Nothing, Reply
from service.api.client import client_middleware
from service.api.connections import connections_middleware
from service.api.node_clients import adapt
from service.api.problems import Handler, problems_middleware
from service.api.routes import MAX_BODY_BYTES, add_routes, route
from service.audit.routes import ROUTES as AUDIT_ROUTES
from service.auth.last_used import LAST_USED, LastUsed
from service.auth.passwords import PASSWORDS, Passwords
from service.auth.routes import ROUTES as AUTH_ROUTES
from service.auth.throttle import THROTTLE, Throttle
from service.auth.tokens import TOKENS, Tokens, authenticate
from service.checkouts.routes import ROUTES as CHECKOUT_ROUTES
from service.documents.routes import ROUTES as DOCUMENT_ROUTES
from service.documents.routes import add_docs
from service.inventory.routes import ROUTES as INVENTORY_ROUTES
from service.platform.db import open_pool
from service.platform.ids import new_id
from service.platform.lifecycle import settle
from service.platform.outage import Heartbeat, Watch
from service.platform.settings import Settings
from service.relays.routes import ROUTES as RELAY_ROUTES
from service.server.past import Past
from service.transfers.routes import ROUTES as TRANSFER_ROUTES
from service.webhooks import stream
from service.webhooks.routes import ROUTES as WEBHOOK_ROUTES

# The limit for statements that are not costly. Such a statement does an index's work, but may wait
# for locks. If it waits longer than this, its client has most likely gone, and it still holds a
# connection.
STATEMENT_TIMEOUT = "15s"
HEARTBEAT = web.AppKey("heartbeat", Heartbeat)
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:@/+=-]{1,128}")


@web.middleware
async def request_id_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    given = request.headers.get("X-Request-ID", "")
    request[REQUEST_ID] = given if _REQUEST_ID.fullmatch(given) else str(new_id())
    with bound_contextvars(request_id=request[REQUEST_ID]):
        response = await handler(request)
    response.headers["X-Request-ID"] = request[REQUEST_ID]
    return response


class Health(BaseModel):
    status: Literal["ok"]


async def health(call: Call[Nothing, Nothing]) -> Reply:
    """Answers 200 while this process and its database work. If the database is away,
    problems_middleware answers 503."""
    await call.request.app[HEARTBEAT].ask()
    return Reply({"status": "ok"})


ROUTES = (
    *AUTH_ROUTES,
    *AUDIT_ROUTES,
    *INVENTORY_ROUTES,
    *TRANSFER_ROUTES,
    *CHECKOUT_ROUTES,
    *WEBHOOK_ROUTES,
    *RELAY_ROUTES,
    *DOCUMENT_ROUTES,
    route("GET", "/health", health, "Whether the API and its database answer", returns=Health, public=True),
)


def make_app(settings: Settings, database_url: str) -> web.Application:
    """The application. It opens its pool when it starts and closes it when it ends."""
    app = web.Application(
        middlewares=[connections_middleware, request_id_middleware, client_middleware, problems_middleware],
        client_max_size=MAX_BODY_BYTES,
    )
    app[SETTINGS] = settings
    app[DATABASE] = Watch()
    app[VAULT] = settings.vault()
    app[TOKENS] = Tokens.of(settings)
    app[PASSWORDS] = Passwords()
    app[THROTTLE] = Throttle()
    app[LAST_USED] = LastUsed(app[TOKENS].refresh_lifetime)
    app[ADMISSION] = Admission(reads_at_once(settings.jossiedb_pool_size))

    past = Past()

    async def pool(app: web.Application) -> AsyncIterator[None]:
        await settle(database_url, past.epoch)
        app[POOL] = await open_pool(
            database_url,
            application_name="jossiedb service",
            size=settings.jossiedb_pool_size,
            settings={"statement_timeout": STATEMENT_TIMEOUT},
            on_ended=app[DATABASE].look,
            on_new=past.greet,
        )
        # A pool of one connection, for the health check and the watch over the database only. Both
        # must work while all connections of the other pool are in use.
        own = await open_pool(database_url, application_name="jossiedb health", size=1)
        app[HEARTBEAT] = Heartbeat(own)
        app[DATABASE].begin(own)
        looking = asyncio.create_task(past.run(app[POOL]))
        yield
        looking.cancel()
        await asyncio.wait([looking])
        await app[LAST_USED].written()
        await app[DATABASE].end()
        await own.close()
        await app[POOL].close()

    app.cleanup_ctx.append(pool)
    stream.set_up(app)
    add_routes(app, adapt(ROUTES) if settings.jossiedb_node_clients else ROUTES, authenticate)
    add_docs(app, ROUTES)
    return app
