"""The stream: a webhook's events, which a receiver reads from the log in order. A receiver that no
relay can connect to gets its events this way."""

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from typing import Annotated
from uuid import UUID

import asyncpg
import orjson
from aiohttp import web
from pydantic import Field
from typing_extensions import TypedDict

from service.api.call import Principal
from service.api.fields import Query
from service.delivery import sign
from service.platform.clock import iso
from service.platform.db import AWAY, CONTENDED, Pool
from service.platform.errors import BadRequest, FieldError, Unauthorized
from service.platform.logs import get_logger
from service.platform.queries import load
from service.platform.vault import Vault
from service.webhooks.access import own
from service.webhooks.stream_cursor import EARLIEST, PATTERN, Cursor

_log = get_logger(__name__)
_SQL = load("stream")

MAX_PAGE_BYTES = 4 * 1024 * 1024
# How many positions of the log one statement examines.
SCAN = 10_000
# A page that begins further back from the end of the log than this is a costly read.
NEAR = 1_000
# How long a page may be searched for, if the webhook wants few of the events in the log.
LOOK_SECONDS = 2.0
MAX_WAIT_SECONDS = 60
# How often one task reads the end of the log for all requests that wait. It runs only while one
# waits.
WATCH_SECONDS = 0.25


class StreamQuery(Query):
    after: Annotated[str, Field(pattern=PATTERN)] | None = None
    limit: Annotated[int, Field(ge=1, le=500)] = 100
    wait: Annotated[int, Field(ge=0, le=MAX_WAIT_SECONDS)] = 0


class StreamEvent(TypedDict):
    """`signature` is the signature of `data`, as in X-Webhook-Signature. `position` is a number as
    text."""

    id: str
    eventType: str
    data: object
    timestamp: str
    position: str
    signature: str


class StreamReply(TypedDict):
    """Give `next` unchanged as `after` to get the events that follow. All events of the log up to
    it have been examined."""

    events: list[StreamEvent]
    next: str


@dataclass(frozen=True, slots=True)
class _Page:
    rows: list[asyncpg.Record]
    # The last position that was examined, and the cursor of the last event up to there.
    reached: int
    next: Cursor
    # Whether later events of the log may match, too.
    more: bool


class LogWatch:
    """Notifies waiting requests that the log has grown. None of them holds a connection while it
    waits."""

    def __init__(self) -> None:
        self._waiting: dict[asyncio.Future[bool], tuple[int, Callable[[], bool]]] = {}
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    async def grown(self, pool: Pool, position: int, seconds: float, gone: Callable[[], bool]) -> bool:
        """Waits until the log reaches beyond `position`, and returns True. Returns False after
        `seconds`, when `gone` says that the client has left, or when the server stops. Raises the
        error if the end of the log cannot be read."""
        if self._closed or seconds <= 0:
            return False
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting[future] = (position, gone)
        if self._task is None:
            self._task = asyncio.create_task(self._watch(pool))
        try:
            async with asyncio.timeout(seconds):
                return await future
        except TimeoutError:
            return False
        finally:
            del self._waiting[future]

    async def close(self, _: web.Application) -> None:
        """Ends all waits at once, because the server stops."""
        self._closed = True
        for future in self._waiting:
            _answer(future, False)
        if self._task is not None:
            self._task.cancel()

    async def _watch(self, pool: Pool) -> None:
        try:
            while self._waiting:
                try:
                    head = await _SQL.head.fetchval(pool)
                except (*AWAY, *CONTENDED, asyncpg.PostgresError) as error:
                    for future in self._waiting:
                        if not future.done():
                            future.set_exception(error)
                    return
                for future, (position, gone) in self._waiting.items():
                    if head > position or gone():
                        _answer(future, head > position)
                await asyncio.sleep(WATCH_SECONDS)
        finally:
            self._task = None


WATCH = web.AppKey("log_watch", LogWatch)


def set_up(app: web.Application) -> None:
    """Adds the LogWatch to the application, and stops it with the server."""
    app[WATCH] = LogWatch()
    app.on_shutdown.append(app[WATCH].close)


async def read(
    pool: Pool,
    vault: Vault,
    watch: LogWatch,
    user: Principal,
    webhook_id: UUID,
    query: StreamQuery,
    gone: Callable[[], bool],
    costly: Callable[[], AbstractAsyncContextManager[Pool]],
) -> StreamReply:
    """The next events after a position. If there are none, it waits for some, for at most
    `query.wait` seconds.

    It enters `costly` to read from far back, and never while it waits. Raises NotFound, Forbidden,
    Unauthorized, BadRequest, Gone, and what `costly` raises."""
    end = time.monotonic() + query.wait
    webhook = await _reader(pool, user, webhook_id)
    after = await _start(pool, webhook, query.after)
    while True:
        if webhook["head"] - after.position > NEAR:
            async with costly() as unit:
                page = await _page(unit, webhook_id, after, query.limit)
        else:
            page = await _page(pool, webhook_id, after, query.limit)
        if page.rows or page.more:
            break
        after = Cursor(page.reached)
        if not await watch.grown(pool, page.reached, end - time.monotonic(), gone):
            break
        webhook = await _reader(pool, user, webhook_id)
    return {"events": _shown(vault, webhook, page.rows), "next": str(page.next)}


async def _reader(pool: Pool, user: Principal, webhook_id: UUID) -> asyncpg.Record:
    """The webhook, if this user may read it now. Raises NotFound, Forbidden, Unauthorized."""
    row = await _SQL.reader.fetchrow(pool, webhook_id=webhook_id, session_id=user.session_id)
    if row is None:
        return own(None, user)
    if row["role"] is None:
        raise Unauthorized("the session has ended")
    return own(row, replace(user, role=row["role"]))


async def _start(pool: Pool, webhook: asyncpg.Record, given: str | None) -> Cursor:
    """The cursor after which to read."""
    if given is not None and given != EARLIEST and (cursor := Cursor.parse(given)).position > 0:
        return cursor
    start: int = await (
        _SQL.earliest.fetchval(pool)
        if given
        else _SQL.start.fetchval(pool, log_position=webhook["log_position"], since=webhook["created_at"])
    )
    return Cursor(start)


async def _page(pool: Pool, webhook_id: UUID, cursor: Cursor, limit: int) -> _Page:
    """Reads one stretch of the log after the other, until the page is full, the log ends, or
    LOOK_SECONDS are over. Raises BadRequest, Gone.

    Each stretch may be read in a newer snapshot than the one before. That is safe, because
    positions are only added at the end."""
    end = time.monotonic() + LOOK_SECONDS
    found: list[asyncpg.Record] = []
    size = 0
    after, checked = cursor.position, False
    while True:
        rows = await _SQL.page.fetch(
            pool, webhook_id=webhook_id, after=after, scan=SCAN, limit=limit - len(found), bytes=MAX_PAGE_BYTES - size
        )
        log = rows[0]
        if not checked:
            if cursor.event_id is None and after > log["head"]:
                text = f"is beyond the end of the log, which is {log['head']}"
                raise BadRequest(f"?after: {text}", errors=[FieldError("?after", text)])
            cursor.check(log["here"], earliest=log["earliest"], head=log["head"], begins=log["begins"])
            checked = True
        fresh = [row for row in rows if row["id"] is not None]
        found += fresh
        size += sum(len(row["data"].encode()) for row in fresh)
        if log["cut"]:
            last = fresh[-1]
            return _Page(found, last["position"], Cursor(last["position"], last["id"]), True)
        after = log["until"]
        if after >= log["head"] or len(found) == limit or time.monotonic() > end:
            ends_with = Cursor(after) if log["last_id"] is None else Cursor(log["last_position"], log["last_id"])
            return _Page(found, after, ends_with, after < log["head"])


def _shown(vault: Vault, webhook: asyncpg.Record, rows: list[asyncpg.Record]) -> list[StreamEvent]:
    secret = vault.open_text(webhook["secret_sealed"], webhook["id"].bytes)
    return [
        {
            "id": str(row["id"]),
            "eventType": row["type"],
            # The text that is signed is sent unchanged.
            "data": orjson.Fragment(row["data"]),
            "timestamp": iso(row["occurred_at"]),
            "position": str(row["position"]),
            "signature": sign.sign_data(secret, row["data"].encode()),
        }
        for row in rows
    ]


def _answer(future: "asyncio.Future[bool]", value: bool) -> None:
    if not future.done():
        future.set_result(value)
