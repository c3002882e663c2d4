"""Runs the API as several processes on one port, for a machine with several cores. One more process
starts them, watches over them, and ends them.

Each worker listens on a socket of its own, and the kernel divides the connections among them. The
sockets belong to the parent as well. So if a worker dies, its new connections wait for its
successor.
"""

import asyncio
import os
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from service.platform import leash
from service.platform.errors import StartupError
from service.platform.lifecycle import cancelled_by_signals
from service.platform.logs import get_logger
from service.server.serve import GRACE_SECONDS

# If a worker ends sooner than this after its start, it cannot start at all.
_STEADY_SECONDS = 5.0
_PAUSE_SECONDS = 1.0
# A worker ends by itself after GRACE_SECONDS. If it does not end even then, it is killed.
_STOP_SECONDS = GRACE_SECONDS + 10
_BACKLOG = 1024
_log = get_logger(__name__)


async def supervise(host: str, port: int, count: int) -> None:
    """Run `count` workers until SIGTERM or SIGINT. Then they finish their requests in flight.

    A worker that dies is started again. Port 0 takes a free port. Raises StartupError, also if a
    worker cannot start.
    """
    sockets = _listen(host, port, count)
    try:
        with cancelled_by_signals():
            workers = [asyncio.create_task(_keep(number, each)) for number, each in enumerate(sockets, 1)]
            try:
                await asyncio.wait(workers, return_when=asyncio.FIRST_EXCEPTION)
                # None of them ends without an error.
                next(worker for worker in workers if worker.done()).result()
            finally:
                for worker in workers:
                    worker.cancel()
                await asyncio.wait(workers)
    finally:
        for each in sockets:
            each.close()


async def _keep(number: int, listening: socket.socket) -> None:
    """Keeps one worker running. Raises StartupError if it cannot start."""
    while True:
        begun = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            Path(leash.__file__),
            str(os.getpid()),
            sys.executable,
            *("-m", "service", "serve", "--fd", str(listening.fileno())),
            stdin=asyncio.subprocess.DEVNULL,
            pass_fds=[listening.fileno()],
            # Ctrl-C in the terminal is for the parent alone.
            start_new_session=True,
        )
        try:
            code = await process.wait()
        except asyncio.CancelledError:
            await _stop(process)
            raise
        if code > 0 and time.monotonic() - begun < _STEADY_SECONDS:
            raise StartupError(f"worker {number} ended with exit code {code}; its own line says why")
        _log.warning("a worker ended and is started again", worker=number, pid=process.pid, code=code)
        await asyncio.sleep(_PAUSE_SECONDS)


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
    try:
        async with asyncio.timeout(_STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def _listen(host: str, port: int, count: int) -> Sequence[socket.socket]:
    """So many sockets that listen on the same port. Raises StartupError."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        # With SO_REUSEPORT, a second program could listen on a port that is in use. Without it,
        # this fails.
        with socket.create_server(address[:2], family=family) as free:
            port = free.getsockname()[1]
        return [
            socket.create_server((host, port), family=family, backlog=_BACKLOG, reuse_port=True) for _ in range(count)
        ]
    except OSError as error:
        raise StartupError(f"cannot listen on {host} port {port}: {error.strerror or error}") from None
