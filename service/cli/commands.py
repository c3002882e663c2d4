"""The command `jossiedb` and its subcommands. Their docstrings are the text of `--help`."""

import asyncio
import getpass
import os
import sys
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, CycloptsError, Parameter, Token
from cyclopts.validators import Number

from service import __version__
from service.platform.errors import Problem, StartupError

if TYPE_CHECKING:
    from service.cli.checks import Audit

# Each command imports the modules that it needs. A healthcheck runs every few seconds, so it must
# not load a web server first.

# Exit codes. A command ends with 2 if it cannot run at all, because of its arguments, the settings
# or the database.
NO = 1
CANNOT = 2
INTERRUPTED = 130
Port = Annotated[int, Parameter(validator=Number(gte=0, lte=65535))]
Workers = Annotated[int, Parameter(validator=Number(gte=1, lte=64))]

app = App(
    name="jossiedb",
    help="An inventory platform whose webhooks cannot lose an event.",
    help_epilogue=(
        "Settings come from the environment. DATABASE_URL names the PostgreSQL server (15 or newer); without it an embedded one is "
        "started, with its data in JOSSIEDB_DATA_DIR (.data)."
    ),
    version=__version__,
    result_action="return_value",
    exit_on_error=False,
    print_error=False,
    suppress_keyboard_interrupt=False,
    default_parameter=Parameter(negative=()),
)
users = App(name="users", help="Manage users.")
app.command(users)


def main() -> None:
    """Run the command line and exit."""
    try:
        code = app()
    except (CycloptsError, StartupError) as error:
        code = _say(error, CANNOT)
    except Problem as error:
        code = _say(error, NO)
    except KeyboardInterrupt:
        code = INTERRUPTED
    sys.exit(code)


def _say(error: Exception, code: int) -> int:
    sys.stderr.write(f"jossiedb: {' '.join(str(error).split())}\n")
    return code


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")


@app.command
def serve(*, host: str = "127.0.0.1", port: Port = 3002, workers: Workers = 1, fd: int | None = None) -> None:
    """Serve the API until Ctrl-C or SIGTERM. Requests in flight are finished first.

    Parameters
    ----------
    host
        The address to listen on. 0.0.0.0 stands for all addresses of this machine.
    port
        The port to listen on. 0 takes a free port and logs it.
    workers
        How many processes serve, for a machine with several cores. Each has a pool of connections
        of its own. With more than one, another process starts and ends them.
    fd
        The file descriptor of a listening socket that the parent process has opened. It replaces
        host and port.
    """
    import uvloop

    from service.platform.lifecycle import start

    settings = start()
    if workers > 1:
        from service.server.workers import supervise

        if fd is not None:
            raise StartupError("--fd goes with one worker only")
        uvloop.run(supervise(host, port, workers))
        return
    from service.server.serve import serve as serve_api

    uvloop.run(serve_api(settings, host, port, fd))


@app.command
def relay() -> None:
    """Deliver events to webhooks until Ctrl-C or SIGTERM. Start as many as you like."""
    # The relay replaces this process. The service never imports the relay.
    os.execv(sys.executable, [sys.executable, "-m", "relay"])  # noqa: S606


@app.command
def migrate() -> None:
    """Bring the database's schema up to this version. Safe to repeat, and to run from several
    places at once."""
    from service.cli.maintain import migrate_database
    from service.platform.lifecycle import start

    applied = asyncio.run(migrate_database(start()))
    for migration in applied.migrations:
        _print(f"applied {migration.version:04}_{migration.name}")
    for definition in applied.definitions:
        _print(f"applied {definition}")
    if not applied:
        _print("the database is up to date")


@app.command
def restored() -> None:
    """Begin a new epoch after the database was restored from a backup: the last step of
    docs/BACKUP.md.

    Positions of the log and numbers of items' events go on above all that were given before, and
    all leases are void. Safe to repeat.
    """
    from service.cli.maintain import begin_epoch
    from service.platform.lifecycle import start

    begun_at, base = asyncio.run(begin_epoch(start()))
    _print(f"a new epoch has begun at {begun_at}; positions go on from {base + 1}")


@users.command(name="create")
def create_user(
    *,
    username: str,
    email: str,
    full_name: str,
    role: Literal["admin", "supervisor", "foreman", "worker", "personnel"] = "worker",
) -> None:
    """Create a user. The password is asked for on a terminal. Otherwise it is read from standard
    input, as one line.

    Parameters
    ----------
    username
        3 to 50 letters, digits, dots, underscores and hyphens.
    email
        An e-mail address. It can be used to sign in as well.
    full_name
        The name that people see.
    role
        What the user may do.
    """
    from service.cli.maintain import create_user as create
    from service.platform.lifecycle import start

    settings = start()
    user = asyncio.run(create(settings, username, email, full_name, role, _password()))
    _print(f"created {user['role']} {user['username']} ({user['id']})")


def _password() -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    password = getpass.getpass("Password: ")
    if getpass.getpass("Again: ") != password:
        raise StartupError("the two passwords differ")
    return password


def _duration(_type: Any, tokens: Sequence[Token]) -> timedelta:
    from service.platform.settings import parse_duration

    parsed: timedelta = parse_duration(tokens[0].value)
    return parsed


@app.command
def demo(
    *, for_: Annotated[timedelta | None, Parameter(name="--for", converter=_duration)] = None, port: Port = 3002
) -> int:
    """Show everything at work: an inventory, the API, two relays, and a receiver that checks
    signatures.

    Parameters
    ----------
    for_
        End with a summary after this time, such as 15s or 2m. Without it, the demo ends on Ctrl-C.
        The exit code is 1 if anything was lost.
    port
        The port of the API. 0 takes a free port.
    """
    from service.demo.run import run
    from service.platform.lifecycle import start

    return run(start(), port=port, seconds=None if for_ is None else for_.total_seconds())


@app.command
def healthcheck(*, url: str = "http://127.0.0.1:3002", relay: bool = False) -> int:
    """Check whether the API, or a relay on this host, works. Exit code 0 or 1, for a container's
    healthcheck.

    Parameters
    ----------
    url
        The address of the API.
    relay
        Check a relay on this host instead: whether it was alive within the last seconds.
    """
    from service.cli.checks import Unhealthy, check_api, check_relay

    try:
        if relay:
            asyncio.run(check_relay())
        else:
            check_api(url)
    except (Unhealthy, StartupError) as error:
        # Never 2, because Docker reserves this exit code for healthchecks.
        return _say(error, NO)
    return 0


@app.command
def psql(*arguments: Annotated[str, Parameter(allow_leading_hyphen=True)]) -> int:
    """Open psql on the database that is in use, also if it is the embedded one, as the owner of the
    data.

    Parameters
    ----------
    arguments
        Arguments of psql, such as: -c "select count(*) from outbox"
    """
    return asyncio.run(_psql(arguments))


async def _psql(arguments: Sequence[str]) -> int:
    from service.cli.psql import run
    from service.platform.lifecycle import database, start

    async with database(start()) as url:
        return await run(url, arguments)


@app.command
def audit(
    name: str | None = None, /, *, variables: Annotated[list[str] | None, Parameter(name=["-v", "--set"])] = None
) -> int:
    """Run one of the audit scripts in sql/audit with psql, or list them. Exit code 1 if it finds a
    fault.

    Parameters
    ----------
    name
        The name of the script. Without it, all scripts are listed.
    variables
        A variable for the script, as name=value. May be repeated.
    """
    from service.cli.checks import audits

    known = {audit.name: audit for audit in audits()}
    if name is None:
        for script in known.values():
            _print(f"{script.name:24} {script.summary}")
        return 0
    if name not in known:
        raise StartupError(f"there is no audit {name}; there are: {', '.join(known) or 'none'}")
    return asyncio.run(_audit(known[name], variables or []))


async def _audit(script: "Audit", variables: list[str]) -> int:
    from service.cli.checks import run_audit
    from service.platform.lifecycle import database, require_migrated, start

    async with database(start()) as url:
        await require_migrated(url, read_only=True)
        output, well = await asyncio.to_thread(run_audit, script, url, variables)
    sys.stdout.write(output)
    return 0 if well else NO
