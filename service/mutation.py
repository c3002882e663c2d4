"""Runs commands. A command reads objects, decides, and changes them. Its events and its audit
records are written together with its changes, so they exist only if the changes do.

Most commands change one row that nobody else changes meanwhile. So a command first runs without a
transaction and without locks. It reads the row with its version, and hands over one statement that
applies only while the row has this version. The statement writes the events and the audit records,
too. If the row has changed since, the statement writes nothing. The command then runs again in a
transaction, in which it locks what it reads.

A command that needs several statements to write runs in a transaction from the start
(docs/adr/0033).
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import wraps
from itertools import groupby
from typing import Any, Concatenate, ParamSpec, TypeVar, cast
from uuid import UUID

import asyncpg

from service.events.data import EventData
from service.platform.canonical import MAX_DATA_BYTES, NotReproducible
from service.platform.db import Pool
from service.platform.errors import BadRequest, PreconditionFailed, Problem, Unprocessable
from service.platform.etag import tag_of
from service.platform.object_locks import ObjectLocks
from service.platform.one_connection import OneConnection
from service.platform.queries import Connection, Statement, load
from service.platform.server_clock import SERVER_CLOCK
from service.records import NOTHING, Origin, Records

_SQL = load("mutation")
_TICK = timedelta(microseconds=1)
# How long a command waits for others of this process that change the same object. A statement takes
# no longer, either.
_OBJECTS = ObjectLocks(15.0)
# How many changes of a part wait at most until they are made.
WRITES_AT_ONCE = 500

P = ParamSpec("P")
ResultT = TypeVar("ResultT")
# Makes the problem for a constraint that a write violates. Returns an error that it does not know.
Refusal = Callable[[asyncpg.IntegrityConstraintViolationError], Exception]


class Again(Exception):
    """The command must run again, in a transaction. It needs one, or another mutation was
    quicker."""


class Unclear(Exception):
    """A constraint forbids one of several changes that were made together."""


@dataclass(frozen=True, slots=True)
class _Write:
    statement: Statement
    values: dict[str, Any]
    refused: Refusal | None


class Mutation:
    """Collects what a command writes: its changes, its events and its audit records.

    It also takes statements in place of a connection. They run in a transaction, after the changes
    so far.
    """

    def __init__(self, connection: Connection, origin: Origin, action: str, transaction: AsyncExitStack) -> None:
        """`action` is the word for the command in the audit trail. `transaction` ends the
        transaction, if one is begun."""
        self.origin = origin
        self.action = action
        self._connection = connection
        self._transaction = transaction
        self._begun = False
        # Whether something was read without a lock.
        self._has_read = False
        # The versions of the rows that were read, and the rows that are locked and unchanged.
        self._versions: dict[UUID, int] = {}
        self._held: dict[UUID, asyncpg.Record] = {}
        self._writes: list[_Write] = []
        # Whether changes are made together, how many of the present part wait, and whether some of
        # it were made.
        self._together = False
        self._waiting = 0
        self._made = False
        self._records = Records(origin)
        self._now: datetime | None = None

    @property
    def now(self) -> datetime:
        """The time of the mutation, by the database's clock as far as this process knows it. The
        times of two processes are in order as far as their estimates of that clock agree."""
        if self._now is None:
            self._now = SERVER_CLOCK.now()
        return self._now

    def later_than(self, updated_at: datetime) -> datetime:
        """The `updated_at` of an object after this mutation. The argument is that before. So an
        object's time never goes back, not even if the clock was set back."""
        return max(self.now, updated_at + _TICK)

    @property
    def locks(self) -> bool:
        """Whether the command runs in a transaction, in which `read` locks."""
        return self._begun

    async def begin(self) -> None:
        """Goes on in a transaction. Rows that are read from here on are locked. If the command has
        read a row before, which is not locked, it runs again from the start."""
        if self._begun:
            return
        if self._has_read:
            raise Again
        await self._transaction.enter_async_context(self._connection.transaction())
        self._begun = True

    async def read(self, get: Statement, lock: Statement, *, id: UUID) -> asyncpg.Record | None:
        """The row of an object that the command may change. In a transaction it is locked by
        `lock`. `get` returns its `id` and, as `version`, its xmin."""
        if (held := self._held.get(id)) is not None:
            return held
        if self._begun:
            await self.flush()
            await lock.execute(self._connection, id=id)
        row = await get.fetchrow(self._connection, id=id)
        self._has_read = True
        if row is not None:
            self._versions[id] = row["version"]
        return row

    async def lock_several(self, lock: Statement, **keys: Any) -> list[asyncpg.Record]:
        """The rows of several objects, which are locked. `lock` returns what `get` of `read` does,
        and `read` does not ask for these rows again."""
        rows = await lock.fetch(self, **keys)
        self._versions.update((row["id"], row["version"]) for row in rows)
        self._held.update((row["id"], row) for row in rows)
        return rows

    async def look_up(self, statement: Statement, **values: Any) -> Any:
        """A value that the command needs and does not change. It is not locked, so a constraint
        must hold what the command concludes from it."""
        await self.flush()
        self._has_read = True
        return await statement.fetchval(self._connection, **values)

    def write(self, statement: Statement, *, id: UUID, refused: Refusal | None = None, **values: Any) -> None:
        """Changes an object when the command ends, or before its next statement.

        The statement has the parameters of record_mutation, and calls it if it has changed the
        object's row. It has the parameter `version` if the row was read, and then
        changes nothing unless the row has this version. `refused` makes the problem if a constraint
        forbids the change."""
        if "version" in statement.parameters:
            values["version"] = self._versions.pop(id)
        self._held.pop(id, None)
        self._writes.append(_Write(statement, {"id": id, **values}, refused))
        self._waiting += 1

    def emit(self, data: EventData, *, location_ids: list[UUID] | None = None) -> None:
        """Writes an event when the mutation ends. Events are written in the order in which they
        were emitted.

        `location_ids` are the locations that the event concerns, if its data does not name them.
        Raises BadRequest if JavaScript would write the data differently, and Unprocessable if it is
        too large.
        """
        try:
            subject = data.subject(location_ids)
        except NotReproducible as error:
            raise BadRequest(str(error)) from None
        size = len(subject.data.encode())
        if size > MAX_DATA_BYTES:
            raise Unprocessable(
                f"this change makes a {data.type} event of {size} bytes, more than {MAX_DATA_BYTES}; make it in two requests"
            )
        self._records.event(data.type, subject)

    def check_match(self, representation: object) -> None:
        """Call this with the object as the API shows it, after it was read and before it changes.
        Raises PreconditionFailed if the request has an If-Match header that does not name the
        object's present ETag."""
        if self.origin.if_match is not None and not self.origin.if_match.match(tag_of(representation)):
            raise PreconditionFailed("it has been changed since it was read: its ETag is none of those in If-Match")

    def check_match_untagged(self) -> None:
        """The same for an object that the API shows without an ETag. No tag can name it, so only
        `*` matches."""
        if self.origin.if_match is not None and not self.origin.if_match.any:
            raise PreconditionFailed("it has no ETag, so none of those in If-Match is its own")

    def audit(
        self, entity: str, entity_id: UUID, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None
    ) -> None:
        """Records a changed object, before and after the change. Call this once for each object.
        The caller leaves out secrets."""
        self._records.audit(self.action, entity, entity_id, before, after)

    @asynccontextmanager
    async def part(self, *, alone: bool) -> AsyncIterator[None]:
        """One of several changes that a mutation makes in its transaction. If it raises a Problem,
        nothing of it remains.

        With `alone`, it is made at once, in a savepoint. Without, changes are made together. That
        takes far less time, but if a constraint forbids one of them, Unclear is raised."""
        self._together, self._waiting, self._made = not alone, 0, False
        self._records.begin_part()
        try:
            if alone:
                async with self._connection.transaction():
                    yield
                    await self.flush()
            else:
                yield
        except Problem:
            if self._made and not alone:
                raise Unclear from None
            del self._writes[len(self._writes) - self._waiting :]
            self._records.drop_part()
            raise
        if len(self._writes) >= WRITES_AT_ONCE:
            await self.flush()

    async def flush(self) -> None:
        """Makes the changes so far. Their events and audit records follow at the end, so this needs
        a transaction."""
        if not self._writes:
            return
        await self.begin()
        self._made = self._made or self._waiting > 0
        self._waiting = 0
        writes, self._writes = self._writes, []
        if self._together:
            await self._apply_together(writes)
        else:
            for write in writes:
                await self._apply(write, NOTHING)

    async def end(self) -> None:
        """Writes what was collected. `command` calls this last."""
        calls = self._records.calls()
        if not self._begun and (len(self._writes) > 1 or len(calls) > 1):
            raise Again
        if self._writes and len(calls) <= 1 and not self._together:
            last = self._writes.pop()
            await self.flush()
            await self._apply(last, calls[0].parameters() if calls else NOTHING)
            return
        await self.flush()
        earlier: list[UUID] = []
        for call in calls:
            ids = await _SQL.record.fetchval(self._connection, **call.parameters(earlier if call.continues else ()))
            earlier = [*earlier, *ids] if call.continues else ids

    async def _apply(self, write: _Write, record: Mapping[str, str]) -> None:
        try:
            applied = await write.statement.fetchrow(self._connection, **write.values, **record)
        except asyncpg.IntegrityConstraintViolationError as error:
            raise (error if write.refused is None else write.refused(error)) from None
        if applied is None:
            assert not self._begun, f"{write.statement.name} changes a row that is locked"
            raise Again

    async def _apply_together(self, writes: Sequence[_Write]) -> None:
        try:
            for statement, group in groupby(writes, key=lambda write: write.statement):
                same = list(group)
                applied = await statement.fetchmany(self._connection, [{**write.values, **NOTHING} for write in same])
                assert len(applied) == len(same), f"{statement.name} changes rows that are locked"
        except asyncpg.IntegrityConstraintViolationError:
            raise Unclear from None

    # The methods of a connection that statements use.

    async def fetch(self, query: str, /, *arguments: Any) -> list[asyncpg.Record]:
        return await (await self._unit()).fetch(query, *arguments)

    async def fetchrow(self, query: str, /, *arguments: Any) -> asyncpg.Record | None:
        return await (await self._unit()).fetchrow(query, *arguments)

    async def fetchval(self, query: str, /, *arguments: Any) -> Any:
        return await (await self._unit()).fetchval(query, *arguments)

    async def execute(self, query: str, /, *arguments: Any) -> str:
        return await (await self._unit()).execute(query, *arguments)

    async def _unit(self) -> Connection:
        await self.begin()
        await self.flush()
        return self._connection


def command(
    action: str, *, of: int | None = None
) -> Callable[
    [Callable[Concatenate[Mutation, P], Awaitable[ResultT]]],
    Callable[Concatenate[Pool, Origin, P], Coroutine[Any, Any, ResultT]],
]:
    """Makes a command of a function that takes a Mutation. The command takes a pool and an Origin
    in its place. `action` is the word for it in the audit trail.

    `of` says which argument after the Mutation is the id of the object that the command changes.
    Commands of one object take turns in this process, before they take a connection. So when many
    change one object, they do not get in each other's way, and leave the connections to others.

    The function may run twice, so all that it does goes through the Mutation. An exception undoes
    everything."""

    def made(
        body: Callable[Concatenate[Mutation, P], Awaitable[ResultT]],
    ) -> Callable[Concatenate[Pool, Origin, P], Coroutine[Any, Any, ResultT]]:
        @wraps(body)
        async def run(pool: Pool, origin: Origin, /, *args: P.args, **kwargs: P.kwargs) -> ResultT:
            async def attempt(*, locking: bool) -> ResultT:
                async with AsyncExitStack() as transaction:
                    mutation = Mutation(connection, origin, action, transaction)
                    if locking:
                        await mutation.begin()
                    result = await body(mutation, *args, **kwargs)
                    await mutation.end()
                    return result

            alone: AbstractAsyncContextManager[None] = nullcontext()
            # A request that is one transaction may hold locks of rows, so it must not wait here.
            if of is not None and not isinstance(cast(object, pool), OneConnection):
                alone = _OBJECTS.of(args[of])
            async with alone, pool.acquire() as connection:
                locking = connection.is_in_transaction()
                while True:
                    try:
                        return await attempt(locking=locking)
                    except Again:
                        locking = True

        return run

    return made
