"""`Idempotency-Key`: a POST that a client sends twice with the same key is executed once.

The second request gets the stored answer of the first. The answer is stored in the transaction of
the mutation, so that after a crash either both exist or neither does.
"""

import hashlib
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, cast

import orjson
from aiohttp import web

from service.api.call import Call, Reply
from service.platform.db import Pool
from service.platform.errors import BadRequest, Conflict, Unprocessable
from service.platform.one_connection import OneConnection
from service.platform.queries import Connection, load

_SQL = load("idempotency")
HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
# How long a key is reserved for a request that waits for another program after its commit. If its
# process dies meanwhile, the key stays reserved for this time. No request waits as long.
RESERVED_SECONDS = 120.0
# A reservation that ends later than this was set by a clock that was ahead. The 5 s are for
# requests that run side by side.
_MOST_SECONDS = RESERVED_SECONDS + 5
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
Handler = Callable[[Call[Any, Any]], Awaitable[Reply]]


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply in the form that is sent: `body` is JSON, or None for no content."""

    status: int
    headers: dict[str, str]
    body: bytes | None

    @classmethod
    def of(cls, reply: Reply) -> "Answer":
        return cls(reply.status, dict(reply.headers), None if reply.body is None else orjson.dumps(reply.body))


def key_of(request: web.Request) -> str | None:
    """The key that the request carries, or None. Raises BadRequest if it is malformed or given
    twice."""
    given = request.headers.getall(HEADER, [])
    if not given:
        return None
    if len(given) > 1 or not _KEY.fullmatch(given[0]):
        raise BadRequest(f"{HEADER} must be given once, with 1 to 255 visible ASCII characters")
    return given[0]


class Keyed:
    """One request with a key. Two users may use the same key independently."""

    def __init__(self, call: Call[Any, Any], key: str, raw_body: bytes) -> None:
        self._call = call
        key_hash = hashlib.sha256(key.encode()).digest()
        self._row = {"user_id": call.user.user_id, "key_hash": key_hash}
        self._owner = b"idempotency" + call.user.user_id.bytes + key_hash
        self._lock = int.from_bytes(hashlib.sha256(self._owner).digest()[:8], "big", signed=True)
        request = call.request
        asked = b"\n".join([request.method.encode(), request.rel_url.raw_path_qs.encode(), raw_body])
        # The digest of a short body would reveal the body, so the digest is stored sealed.
        self._asked = hashlib.sha256(asked).hexdigest()

    async def in_one_transaction(self, handler: Handler) -> Answer:
        """Runs the handler. Its mutation and its answer commit together. An error undoes both, so
        the request can be tried again."""
        async with self._call.pool.acquire() as connection, connection.transaction():
            if (kept := await self._begin(connection)) is not None:
                return kept
            # The cast is safe: OneConnection has all that handlers and commands use of a pool.
            unit = cast(Pool, OneConnection(connection))
            answer = Answer.of(await handler(replace(self._call, unit=unit)))
            await self._keep(connection, self._seal(answer), running_seconds=None)
        return answer

    async def around(self, handler: Handler) -> Answer:
        """Runs a handler that commits and then waits for another program.

        The key is reserved before, and the answer is stored afterwards. If the process dies in
        between, requests with this key are refused for RESERVED_SECONDS. A request after that time
        is executed again.
        """
        async with self._call.pool.acquire() as connection, connection.transaction():
            if (kept := await self._begin(connection)) is not None:
                return kept
            reserved = self._seal(None)
            await self._keep(connection, reserved, running_seconds=RESERVED_SECONDS)
        try:
            answer = Answer.of(await handler(self._call))
        except BaseException:
            await _SQL.release.execute(self._call.pool, **self._row, reserved=reserved)
            raise
        await _SQL.complete.execute(self._call.pool, **self._row, sealed=self._seal(answer), reserved=reserved)
        return answer

    async def _begin(self, connection: Connection) -> Answer | None:
        """The stored answer. None if the request is new: then a lock keeps every duplicate from
        running before this transaction ends.

        Raises Conflict if another request with this key is running, and Unprocessable if the key
        was used for a different request.
        """
        # Do not wait for the lock: a duplicate that waits holds a connection that the first may
        # need.
        free = await _SQL.try_lock.fetchval(connection, lock=self._lock)
        row = await _SQL.find.fetchrow(connection, **self._row, most_seconds=_MOST_SECONDS) if free else None
        if row is None and free:
            return None
        kept = self._open(row["sealed"]) if row is not None else None
        if kept is not None and kept["asked"] != self._asked:
            raise Unprocessable(f"this {HEADER} was used for another request")
        if kept is None or kept["answer"] is None:
            raise Conflict(f"a request with this {HEADER} is still running", retry_after=1)
        status, headers, body = kept["answer"]
        return Answer(status, {**headers, REPLAYED: "true"}, None if body is None else body.encode())

    async def _keep(self, connection: Connection, sealed: bytes, *, running_seconds: float | None) -> None:
        if not await _SQL.keep.fetchval(
            connection, **self._row, sealed=sealed, running_seconds=running_seconds, most_seconds=_MOST_SECONDS
        ):
            raise Conflict(f"another request with this {HEADER} has been answered meanwhile")

    def _seal(self, answer: Answer | None) -> bytes:
        stored = None if answer is None else [answer.status, answer.headers, answer.body and answer.body.decode()]
        return self._call.vault.seal(orjson.dumps({"asked": self._asked, "answer": stored}), self._owner)

    def _open(self, sealed: bytes) -> dict[str, Any]:
        opened: dict[str, Any] = orjson.loads(self._call.vault.open(sealed, self._owner))
        return opened
