"""Checks a running system for the command line: its health, and with the scripts of sql/audit."""

import http.client
import re
import socket
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files
from itertools import takewhile
from urllib.parse import urlsplit

from service.cli import psql
from service.platform.errors import StartupError

_TIMEOUT_SECONDS = 5
# A relay refreshes its row in `relays` every second. Its peers remove a row that has not changed
# for 5 s.
_RELAY_WITHIN_SECONDS = 5.0
_EXPECT = re.compile(r"^-- expect: *(?P<what>.+?) *$", re.MULTILINE)
_VARIABLE = re.compile(r"^\\if :\{\?(\w+)\}$", re.MULTILINE)
_FOOTER = re.compile(r"^\((?P<rows>[0-9]+) rows?\)$", re.MULTILINE)


class Unhealthy(Exception):
    """The check failed. The message says why."""


def check_api(url: str) -> None:
    """Raises Unhealthy unless the API at `url` and its database answer. Raises StartupError if
    `url` is not an HTTP address."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise StartupError(f"--url: {error}") from None
    if parts.scheme not in ("http", "https") or parts.hostname is None:
        raise StartupError(f"--url takes an address such as http://127.0.0.1:3002, not {url}")
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    try:
        connection = kind(parts.hostname, parts.port, timeout=_TIMEOUT_SECONDS)
        connection.request("GET", f"{parts.path.rstrip('/')}/api/v1/health")
        status = connection.getresponse().status
    except ValueError as error:
        raise StartupError(f"--url: {error}") from None
    except (OSError, http.client.HTTPException) as error:
        raise Unhealthy(f"no answer from {url}: {error or type(error).__name__}") from None
    if status != http.client.OK:
        raise Unhealthy(f"{url} answers {status}")


async def check_relay() -> None:
    """Raises Unhealthy unless a relay on this host has refreshed its row within the last 5 s.
    Raises StartupError if the database cannot be reached."""
    import asyncpg

    from service.platform.db import AWAY, connect
    from service.platform.lifecycle import database
    from service.platform.queries import load
    from service.platform.settings import load_settings

    async with database(load_settings()) as url:
        connection = await connect(url, application_name="jossiedb healthcheck")
        try:
            alive = await load("checks").relay_is_alive.fetchval(
                connection, host=socket.gethostname(), within_seconds=_RELAY_WITHIN_SECONDS
            )
        except asyncpg.UndefinedTableError:
            raise Unhealthy("the database is not migrated; run: jossiedb migrate") from None
        except (*AWAY, asyncpg.PostgresError) as error:
            raise Unhealthy(f"PostgreSQL does not say which relays there are: {error}") from None
        finally:
            await connection.close()
    if not alive:
        raise Unhealthy(f"no relay on {socket.gethostname()} was seen within {_RELAY_WITHIN_SECONDS:g} s")


@dataclass(frozen=True, slots=True)
class Audit:
    """A script of sql/audit. `summary` is the first sentence of its comment. If `expects_no_rows`
    is set, any row that the script returns is a fault."""

    name: str
    summary: str
    expects_no_rows: bool


def audits() -> list[Audit]:
    """All audit scripts, ordered by name."""
    return sorted(_audits(), key=lambda audit: audit.name)


def _audits() -> Iterator[Audit]:
    for entry in (files("sql") / "audit").iterdir():
        if entry.name.endswith(".sql"):
            text = entry.read_text(encoding="utf-8")
            expected = _EXPECT.search(text)
            yield Audit(
                entry.name.removesuffix(".sql"), _summary(text), expected is not None and expected["what"] == "no rows"
            )


def _summary(text: str) -> str:
    comment = takewhile(
        lambda line: line.startswith("-- ") and not line.startswith(("-- expect:", "--   ")), text.splitlines()
    )
    return " ".join(line.removeprefix("-- ") for line in comment).partition(". ")[0].removesuffix(".")


def _check_variables(audit: Audit, variables: Sequence[str]) -> None:
    text = (files("sql") / "audit" / f"{audit.name}.sql").read_text(encoding="utf-8")
    known = set(_VARIABLE.findall(text))
    for variable in variables:
        name, equals, _ = variable.partition("=")
        if not equals or name not in known:
            takes = f"takes {', '.join(sorted(known))}" if known else "takes no variables"
            raise StartupError(f"-v takes name=value, and {audit.name} {takes}; not {variable!r}")


def run_audit(audit: Audit, url: str, variables: Sequence[str]) -> tuple[str, bool]:
    """Runs the script with psql. Returns psql's output, and whether the script found no fault.

    `variables` are of the form `name=value`, with names that the script knows. Raises StartupError.
    """
    _check_variables(audit, variables)
    with as_file(files("sql") / "audit" / f"{audit.name}.sql") as script:
        argv, environment = psql.command(
            url,
            "--no-psqlrc",
            "--quiet",
            "--set=ON_ERROR_STOP=1",
            *[f"--set={variable}" for variable in variables],
            f"--file={script}",
        )
        done = subprocess.run(
            argv,
            env=environment | {"LC_ALL": "C", "PSQL_PAGER": ""},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    if done.returncode:
        raise StartupError(f"psql failed: {done.stderr.strip() or f'exit code {done.returncode}'}")
    rows = [int(footer["rows"]) for footer in _FOOTER.finditer(done.stdout)]
    return done.stdout, not audit.expects_no_rows or (bool(rows) and not any(rows))
