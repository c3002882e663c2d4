"""Runs psql on the database that is in use."""

import asyncio
import os
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from service.platform.database_url import parse
from service.platform.errors import StartupError


def command(url: str, *arguments: str) -> tuple[list[str], dict[str, str]]:
    """The command line of psql, and its environment.

    The password is in the environment, because every user of the machine can read the arguments of
    a process. Raises StartupError if psql is not installed, or if the URL has a secret that psql
    takes only as an argument.
    """
    address, password = _without_password(parse(url).psql)
    environment = {**os.environ, **({"PGPASSWORD": password} if password else {})}
    return [_program(), *arguments, address], environment


async def run(url: str, arguments: Sequence[str]) -> int:
    """Runs psql in this terminal until it ends, and returns its exit code. `arguments` are those of
    psql."""
    argv, environment = command(url, *arguments)
    loop = asyncio.get_running_loop()
    # Ctrl-C cancels a statement in psql. It must not end this process, which may be the last holder
    # of the embedded server.
    loop.add_signal_handler(signal.SIGINT, lambda: None)
    try:
        process = await asyncio.create_subprocess_exec(*argv, env=environment)
        return await process.wait()
    finally:
        loop.remove_signal_handler(signal.SIGINT)


def _program() -> str:
    """The path of psql: the embedded server's, which is a new version, or else the one on PATH."""
    from service.platform.embedded.server import bin_dir

    try:
        embedded: Path | None = bin_dir() / "psql"
    except StartupError:
        embedded = None
    found = str(embedded) if embedded and embedded.exists() else shutil.which("psql")
    if found is None:
        raise StartupError("psql is not installed; install PostgreSQL's client")
    return found


def _without_password(url: str) -> tuple[str, str | None]:
    """The URL without its password, and the password. Raises StartupError.

    As in libpq, `?password=` takes precedence over the password before the host. If there are
    several, the last one counts.
    """
    address, _, query = url.partition("?")
    parts = urlsplit(address)
    password: str | None = None
    if parts.password is not None:
        password = unquote(parts.password)
        login, _, server = parts.netloc.rpartition("@")
        address = urlunsplit(parts._replace(netloc=f"{login.partition(':')[0]}@{server}"))
    kept: list[str] = []
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        if unquote(name) == "sslpassword":
            raise StartupError(
                "psql would show sslpassword to everybody on this machine; put it into a connection service file, "
                "and service=… in its place into DATABASE_URL"
            )
        if unquote(name) == "password":
            password = unquote(value)
        else:
            kept.append(pair)
    return address + ("?" if any(kept) else "") + "&".join(kept), password
