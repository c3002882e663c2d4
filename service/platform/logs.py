"""Sets up structured logs: readable lines on a terminal, otherwise JSON lines.

No caller ever passes a secret or a token to them.
"""

import json
import logging
import re
import sys
from collections.abc import Callable
from typing import Any

import orjson
import structlog

# PostgreSQL adds the whole row to the error of a constraint. The row may have URLs, e-mail
# addresses or hashes of passwords.
_ROW = re.compile(r"(Failing row contains) \(.*?\)\.$", re.DOTALL | re.MULTILINE)


def _without_rows(_: Any, __: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
    for name, value in event.items():
        if isinstance(value, str) and "Failing row" in value:
            event[name] = _ROW.sub(r"\1 (…).", value)
    return event


def _json(event: structlog.types.EventDict, default: Callable[[Any], Any]) -> str:
    try:
        return orjson.dumps(event, default=default).decode()
    except TypeError:
        # orjson refuses lone surrogates and huge integers, which an error's text or value may have.
        return json.dumps(event, default=default)


def configure(level: str = "info", *, stream: Any = None) -> None:
    """Set up structlog, and give the standard library's loggers the same format. Logs go to stderr,
    because stdout is for results.

    Our own lines do not pass through the standard library. That would take most of the time of a
    line, and the API writes one for each request."""
    stream = stream or sys.stderr
    terminal = stream.isatty()
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S.%f" if terminal else "iso", utc=not terminal),
    ]
    if terminal:
        # The renderer's own format of tracebacks would show local variables.
        renderer: structlog.types.Processor = structlog.dev.ConsoleRenderer(
            exception_formatter=structlog.dev.plain_traceback
        )
    else:
        renderer = structlog.processors.JSONRenderer(serializer=_json)
    final: list[structlog.types.Processor] = [structlog.processors.format_exc_info, _without_rows, renderer]
    structlog.configure(
        processors=[*shared, *final],
        logger_factory=structlog.WriteLoggerFactory(stream),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *final],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # The access log is our own (service.server.serve).
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    return structlog.stdlib.get_logger(name)
