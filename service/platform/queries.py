"""Loads the statements in sql/queries. Each stands under a line `-- name: <name>`, with parameters
written as `:name`."""

import re
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.resources import files
from typing import Any, Protocol, TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"

# Strings, comments and casts match as well, so that a colon in them does not begin a parameter.
_TOKEN = re.compile(r"'(?:[^']|'')*'|--[^\n]*|::|(?<!\w):(?P<name>[a-z_][a-z0-9_]*)")
_NAME = re.compile(r"^-- name: (?P<name>[a-z_][a-z0-9_]*)[ \t]*\n", re.MULTILINE)


class Executor(Protocol):
    """A single statement can run on a connection, on a pool, and in a service.mutation.Mutation."""

    async def fetch(self, query: str, /, *arguments: Any) -> list[asyncpg.Record]: ...
    async def fetchrow(self, query: str, /, *arguments: Any) -> asyncpg.Record | None: ...
    async def fetchval(self, query: str, /, *arguments: Any) -> Any: ...
    async def execute(self, query: str, /, *arguments: Any) -> str: ...


class Statement:
    """One named statement. Its methods take the parameters by name. They raise TypeError if a
    parameter is missing or unknown."""

    __slots__ = ("name", "parameters", "sql")

    def __init__(self, name: str, text: str) -> None:
        parameters: list[str] = []

        def number(match: re.Match[str]) -> str:
            parameter = match["name"]
            if parameter is None:
                return match[0]
            if parameter not in parameters:
                parameters.append(parameter)
            return f"${parameters.index(parameter) + 1}"

        self.name = name
        self.sql = _TOKEN.sub(number, text.strip())
        self.parameters = tuple(parameters)

    def arguments(self, values: dict[str, Any]) -> list[Any]:
        if len(values) != len(self.parameters):
            odd = set(values).symmetric_difference(self.parameters)
            raise TypeError(f"{self.name}: parameters missing or unknown: {', '.join(sorted(odd))}")
        try:
            return [values[name] for name in self.parameters]
        except KeyError as missing:
            raise TypeError(f"{self.name}: parameter {missing} is missing") from None

    async def fetch(self, connection: Executor, **values: Any) -> list[asyncpg.Record]:
        return await connection.fetch(self.sql, *self.arguments(values))

    async def fetchrow(self, connection: Executor, **values: Any) -> asyncpg.Record | None:
        return await connection.fetchrow(self.sql, *self.arguments(values))

    async def fetchval(self, connection: Executor, **values: Any) -> Any:
        return await connection.fetchval(self.sql, *self.arguments(values))

    async def execute(self, connection: Executor, **values: Any) -> str:
        return await connection.execute(self.sql, *self.arguments(values))

    async def fetchmany(self, connection: Connection, values: Iterable[dict[str, Any]]) -> list[asyncpg.Record]:
        """Executes the statement for each of `values`, in one round trip. Returns all rows."""
        return await connection.fetchmany(self.sql, [self.arguments(each) for each in values])


class Statements:
    """The statements of one file, as attributes with their names."""

    def __init__(self, feature: str, text: str) -> None:
        parts = _NAME.split(text)[1:]
        self._feature = feature
        self._statements = {
            name: Statement(f"{feature}.{name}", body) for name, body in zip(parts[::2], parts[1::2], strict=True)
        }
        if len(self._statements) != len(parts) // 2:
            raise ValueError(f"sql/queries/{feature}.sql names a statement twice")

    def __getattr__(self, name: str) -> Statement:
        try:
            return self._statements[name]
        except KeyError:
            raise AttributeError(f"sql/queries/{self._feature}.sql has no statement named {name}") from None

    def __iter__(self) -> Iterator[Statement]:
        return iter(self._statements.values())


@cache
def load(feature: str) -> Statements:
    """The statements of sql/queries/<feature>.sql."""
    return Statements(feature, (files("sql") / "queries" / f"{feature}.sql").read_text(encoding="utf-8"))
