"""The pull cursor: a webhook's events read from the log in order, by a receiver that nobody can connect to."""

import asyncio
import time
from collections.abc import Callable
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
from service.platform import sign
from service.platform.clock import iso
from service.platform.db import AWAY, CONTENDED, Pool
from service.platform.errors import BadRequest, FieldError, Gone, Unauthorized
from service.platform.logs import get_logger
from service.platform.queries import load
from service.platform.vault import Vault
from service.webhooks.commands import own

_log = get_logger(__name__)
_SQL = load("stream")

EARLIEST = "earliest"
MAX_PAGE_BYTES = 4 * 1024 * 1024
# Positions that one statement looks at, and how long a page may be looked for in a log of which the webhook wants little.
SCAN = 10_000
LOOK_SECONDS = 2.0
MAX_WAIT_SECONDS = 60
# How often the head of the log is asked for, by one task for all who wait, and only while somebody does.
WATCH_SECONDS = 0.25


class StreamQuery(Query):
    after: Annotated[str, Field(pattern=r"^(?:earliest|[0-9]{1,18})$")] | None = None
    limit: Annotated[int, Field(ge=1, le=500)] = 100
    wait: Annotated[int, Field(ge=0, le=MAX_WAIT_SECONDS)] = 0


class StreamEvent(TypedDict):
    """`signature` is that of `data`, as in X-Webhook-Signature; `position` a number as text."""

    id: str
    eventType: str
    data: object
    timestamp: str
    position: str
    signature: str


class StreamReply(TypedDict):
    """`next` is what to give as `after`: everything up to it has been looked at."""

    events: list[StreamEvent]
    next: str


@dataclass(frozen=True, slots=True)
class _Page:
    rows: list[asyncpg.Record]
    next: int
    # More of what the log has may be wanted.
    more: bool


class LogWatch:
    """Tells those who wait that the log has grown. None of them holds a connection meanwhile."""

    def __init__(self) -> None:
        self._waiting: dict[asyncio.Future[bool], tuple[int, Callable[[], bool]]] = {}
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    async def grown(self, pool: Pool, position: int, seconds: float, gone: Callable[[], bool]) -> bool:
        """True once the log reaches past `position`; False after so long, when `gone` says that nobody waits for the answer
        any more, or when the server stops."""
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
        """The server stops: whoever waits is answered at once."""
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
    """What waiting needs of the application."""
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
) -> StreamReply:
    """The next events after a position; waits for some if there are none. Raises NotFound, Forbidden, BadRequest, Gone."""
    end = time.monotonic() + query.wait
    webhook = await _reader(pool, user, webhook_id)
    after = await _start(pool, webhook, query.after)
    while True:
        page = await _page(pool, webhook_id, after, query.limit)
        if page.rows or page.more:
            break
        after = page.next
        if not await watch.grown(pool, after, end - time.monotonic(), gone):
            break
        webhook = await _reader(pool, user, webhook_id)
    return {"events": _shown(vault, webhook, page.rows), "next": str(page.next)}


async def _reader(pool: Pool, user: Principal, webhook_id: UUID) -> asyncpg.Record:
    """The webhook, if this user may read it now."""
    row = await _SQL.reader.fetchrow(pool, webhook_id=webhook_id, session_id=user.session_id)
    if row is None:
        return own(None, user)
    if row["role"] is None:
        raise Unauthorized("the session has ended")
    return own(row, replace(user, role=row["role"]))


async def _start(pool: Pool, webhook: asyncpg.Record, given: str | None) -> int:
    """The position to read after."""
    if given is not None and given != EARLIEST and int(given) > 0:
        return int(given)
    start: int = await (
        _SQL.earliest.fetchval(pool) if given else _SQL.start.fetchval(pool, since=webhook["created_at"])
    )
    return start


async def _page(pool: Pool, webhook_id: UUID, after: int, limit: int) -> _Page:
    """Looks through the log from one stretch to the next until the page is full or nothing is left. Each stretch may be seen in a
    newer snapshot than the one before: positions are only ever added at the end."""
    end = time.monotonic() + LOOK_SECONDS
    found: list[asyncpg.Record] = []
    size = 0
    while True:
        rows = await _SQL.page.fetch(
            pool, webhook_id=webhook_id, after=after, scan=SCAN, limit=limit - len(found), bytes=MAX_PAGE_BYTES - size
        )
        head, earliest, cut = rows[0]["head"], rows[0]["earliest"], rows[0]["cut"]
        if after < earliest - 1:
            raise Gone(
                f"the log begins at position {earliest}; what came after {after} has been dropped in part. "
                f"Go on with ?after={EARLIEST}, and fetch what you lack from the API",
                earliest=str(earliest),
            )
        if after > head:
            text = f"is beyond the end of the log, which is {head}"
            raise BadRequest(f"?after: {text}", errors=[FieldError("?after", text)])
        fresh = [row for row in rows if row["id"] is not None]
        found += fresh
        size += sum(len(row["data"].encode()) for row in fresh)
        if cut:
            return _Page(found, fresh[-1]["position"], True)
        after = min(after + SCAN, head)
        if after == head or len(found) == limit or time.monotonic() > end:
            return _Page(found, after, after < head)


def _shown(vault: Vault, webhook: asyncpg.Record, rows: list[asyncpg.Record]) -> list[StreamEvent]:
    secret = vault.open_text(webhook["secret_sealed"], webhook["id"].bytes)
    return [
        {
            "id": str(row["id"]),
            "eventType": row["type"],
            # The text that is signed goes out as it is.
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
