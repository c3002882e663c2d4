"""Values that a log line leaves out."""

import io
import json
import logging
from collections.abc import Iterator

import asyncpg
import pytest
import structlog

from service.platform import logs

TOKEN = "https://hooks.chat.test/services/token"


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    logs.configure(stream=stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def refused() -> asyncpg.PostgresError:
    error = asyncpg.CheckViolationError('new row for relation "webhooks" violates check constraint "x"')
    error.detail = f"Failing row contains (1, a\n)., {TOKEN}, b)."
    error.hint = "a hint"
    assert TOKEN in str(error)
    return error


def test_a_row_that_postgresql_refused_is_not_logged(stream: io.StringIO) -> None:
    logger = structlog.stdlib.get_logger("test")
    logger.error("as a field", error=str(refused()))
    try:
        raise refused()
    except asyncpg.PostgresError:
        logger.exception("with a traceback")
        logging.getLogger("test").exception("by the standard library")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert len(lines) == 3
    assert TOKEN not in stream.getvalue()
    for line in lines:
        assert "Failing row contains (…)." in line.get("exception", line.get("error"))
        assert "a hint" in line.get("exception", line.get("error"))


def test_on_a_terminal_neither_a_row_nor_a_local_variable_is_shown(stream: io.StringIO) -> None:
    terminal = Terminal()
    logs.configure(stream=terminal)
    secret = TOKEN
    try:
        raise refused()
    except asyncpg.PostgresError:
        structlog.stdlib.get_logger("test").exception("with a traceback")
    assert "Traceback" in terminal.getvalue()
    assert secret not in terminal.getvalue()
