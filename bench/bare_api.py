"""`python -m bench.bare_api`: the service's `PUT /items/:id` without the service.

One aiohttp handler with the same look-up of the session, the same SQL and the same serialisation.
It prints its port.
"""

import asyncio
import signal
from uuid import UUID

import asyncpg
import jwt
import orjson
import uvloop
from aiohttp import web

from bench.mutations import mutate
from service.platform.db import Pool
from service.platform.queries import load
from service.platform.settings import load_settings

_SQL = load("auth")


def make_app(pool: Pool, key: str) -> web.Application:
    async def update(request: web.Request) -> web.Response:
        claims = jwt.decode(request.headers["Authorization"][7:], key, algorithms=["HS256"])
        row = await _SQL.session.fetchrow(pool, session_id=UUID(claims["sid"]), user_id=UUID(claims["sub"]))
        if row is None or row["ended"] or row["expired"] or not row["user_active"] or row["role"] != "admin":
            return web.Response(status=401)
        sent = orjson.loads(await request.read())
        async with pool.acquire() as connection:
            saved = await mutate(connection, UUID(request.match_info["id"]), row["user_id"], sent["quantity"])
        return web.Response(body=orjson.dumps(saved.view), content_type="application/json")

    app = web.Application()
    app.router.add_put("/api/v1/items/{id}", update)
    return app


async def main() -> None:
    settings = load_settings()
    assert settings.database_url is not None, "the benchmark sets it"
    pool = await asyncpg.create_pool(
        settings.database_url.get_secret_value(), min_size=1, max_size=settings.jossiedb_pool_size
    )
    runner = web.AppRunner(make_app(pool, settings.jwt_key()), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await ended.wait()
    await runner.cleanup()
    pool.terminate()


if __name__ == "__main__":
    uvloop.run(main())
