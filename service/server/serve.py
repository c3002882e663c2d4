"""Runs the API as a process."""

import asyncio
import errno
import gc
import logging
import socket
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from aiohttp.abc import AbstractAccessLogger
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.log import server_logger
from jwt.warnings import InsecureKeyLengthWarning

from service.api.call import REQUEST_ID
from service.api.connections import Connections, Limits
from service.platform.errors import StartupError
from service.platform.lifecycle import cancelled_by_signals, database, require_migrated
from service.platform.logs import get_logger
from service.platform.settings import Settings, is_weak
from service.server.app import make_app

# After SIGTERM or SIGINT, requests in flight have this long to end.
GRACE_SECONDS = 20.0
# The rest of a refused body is read and thrown away for this long. So the client can read the
# answer before the connection is reset.
LINGER_SECONDS = 2.0
_log = get_logger(__name__)


class AccessLogger(AbstractAccessLogger):
    """Logs one line for each request. It has neither the query nor a header, because both may
    contain secrets."""

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        _log.info(
            "request",
            method=request.method,
            path=request.path,
            status=response.status,
            ms=round(time * 1000, 1),
            request_id=request.get(REQUEST_ID),
        )


class ClientsFault(logging.Filter):
    """Replaces the traceback that aiohttp logs for a request that it cannot parse by one line. The
    traceback would show the client's bytes, which may contain a token."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, (HttpProcessingError, web.RequestPayloadError)):
            record.msg, record.args, record.exc_info = f"a request cannot be read: {type(error).__name__}", (), None
            record.levelno, record.levelname = logging.INFO, logging.getLevelName(logging.INFO)
        return True


async def serve(settings: Settings, host: str, port: int, fd: int | None = None) -> None:
    """Serve until SIGTERM or SIGINT, then finish the requests in flight. Raises StartupError.

    Port 0 takes a free port. `fd` is a listening socket that this process has inherited. If it is
    given, host and port are ignored.
    """
    if settings.jwt_secret is not None and is_weak(settings.jwt_secret.get_secret_value()):
        # In production a weak secret is refused. Otherwise this warns once, and the library's own
        # warning at each token is switched off.
        _log.warning("JWT_SECRET is weak: anybody can guess it and sign in as anybody")
        warnings.filterwarnings("ignore", category=InsecureKeyLengthWarning)
    server_logger.addFilter(ClientsFault())
    with cancelled_by_signals():
        async with database(settings) as url:
            await require_migrated(url)
            runner = make_runner(settings, url)
            try:
                await runner.setup()
                # Everything allocated so far lives as long as the process, so the garbage collector
                # need not look at it. While it did, a body of many small lists made it look through
                # everything several times, which took a tenth of a second.
                gc.collect()
                gc.freeze()
                connections = Connections(Limits.of(settings))
                async with _listening(runner, connections, host, port, fd) as server:
                    _log.info("ready", address=_address(server))
                    await asyncio.Event().wait()
            finally:
                await runner.cleanup()


def make_runner(settings: Settings, database_url: str) -> web.AppRunner:
    return web.AppRunner(
        make_app(settings, database_url),
        access_log_class=AccessLogger,
        shutdown_timeout=GRACE_SECONDS,
        keepalive_timeout=settings.jossiedb_keepalive_timeout / 1000,
        lingering_time=LINGER_SECONDS,
    )


@asynccontextmanager
async def _listening(
    runner: web.AppRunner, connections: Connections, host: str, port: int, fd: int | None
) -> AsyncIterator[asyncio.Server]:
    """Listens within the context, and takes no new connections after it. A site of aiohttp is not
    used, because it would leave the connections unguarded."""
    server = await (listen(runner, connections, host, port) if fd is None else _listen_on(runner, connections, fd))
    try:
        yield server
    finally:
        server.close()


async def listen(runner: web.AppRunner, connections: Connections, host: str, port: int) -> asyncio.Server:
    """Listens on host and port. The runner must be set up. Raises StartupError."""
    try:
        return await asyncio.get_running_loop().create_server(_guarded(runner, connections), host, port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise StartupError(f"port {port} on {host} is in use; choose another with --port") from None
        raise StartupError(f"cannot listen on {host} port {port}: {error.strerror or error}") from None


async def _listen_on(runner: web.AppRunner, connections: Connections, fd: int) -> asyncio.Server:
    try:
        inherited = socket.socket(fileno=fd)
        return await asyncio.get_running_loop().create_server(_guarded(runner, connections), sock=inherited)
    except OSError as error:
        raise StartupError(f"--fd {fd} is no socket to listen on: {error.strerror or error}") from None


def _guarded(runner: web.AppRunner, connections: Connections) -> Callable[[], asyncio.Protocol]:
    assert runner.server is not None, "the runner is set up first"
    return connections.guarded(runner.server)


def _address(server: asyncio.Server) -> str:
    host, port = server.sockets[0].getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
