"""Faults in one step of a relay in the test's process, for the rows of one webhook."""

import importlib
from collections.abc import Callable
from typing import Any

import asyncpg
import pytest

from service.platform.queries import Statement


class FailingStep:
    """Makes one step fail whenever its arguments contain `needle`. A step is a statement
    `feature.name`, or a function `module:name`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._patch = monkeypatch
        self._step = ""
        self._needle = ""
        self._error: Callable[[], Exception] = RuntimeError
        self.hits = 0
        for method in ("fetch", "fetchrow", "fetchval", "execute"):
            self._wrap_statement(method)

    def _wrap_statement(self, method: str) -> None:
        plain = getattr(Statement, method)

        async def failing(statement: Statement, connection: Any, **values: Any) -> Any:
            self._meet(statement.name, values)
            return await plain(statement, connection, **values)

        self._patch.setattr(Statement, method, failing)

    def function(self, step: str) -> None:
        """Make this function able to fail."""
        module_name, _, name = step.partition(":")
        owner: Any = importlib.import_module(module_name)
        *path, last = name.split(".")
        for part in path:
            owner = getattr(owner, part)
        plain = getattr(owner, last)

        def failing(*args: Any, **values: Any) -> Any:
            self._meet(step, (args, values))
            return plain(*args, **values)

        self._patch.setattr(owner, last, staticmethod(failing) if isinstance(owner, type) else failing)

    def set(self, step: str, needle: object, error: Callable[[], Exception]) -> None:
        self._step, self._needle, self._error, self.hits = step, str(needle), error, 0

    def clear(self) -> None:
        self._step = ""

    def _meet(self, step: str, given: object) -> None:
        if step == self._step and self._needle in repr(given):
            self.hits += 1
            raise self._error()


def refused() -> Exception:
    return asyncpg.DataError("refused by the test")


def defect() -> Exception:
    return RuntimeError("a defect of the test")
