"""The commands: their effect on a database, and their refusals."""

import asyncio
import os
import pty
import re
import signal
import subprocess
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import pytest

from service.cli import psql
from service.platform.errors import StartupError
from service.platform.settings import Settings
from tests.support.api.caller import Api
from tests.support.api.outbox import Outbox
from tests.support.command_line import BOSS, COMMAND, PASSWORD, TIMEOUT, refusal, run, started
from tests.support.database import Connection
from tests.support.paths import ROOT
from tests.support.relay.log import RelayLog


async def test_migrate_says_what_it_applied_and_then_that_there_is_nothing(
    settings: Settings, empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", empty_database_url)
    assert "not migrated" in await refusal("serve", "--port", "0")
    unhealthy = "jossiedb: the database is not migrated; run: jossiedb migrate\n"
    assert await run("healthcheck", "--relay") == (1, "", unhealthy)
    code, output, errors = await run("migrate")
    assert (code, errors) == (0, "")
    assert output.splitlines()[0] == "applied 0001_create_functions"
    assert await run("migrate") == (0, "the database is up to date\n", "")


async def test_a_user_is_created_with_the_event_and_can_sign_in(settings: Settings, api: Api, outbox: Outbox) -> None:
    code, output, errors = await run(*BOSS, "--role", "admin", given=f"{PASSWORD}\n")
    assert (code, errors) == (0, "")
    assert output.startswith("created admin boss (")
    (kind, data) = (await outbox())[0]
    assert (kind, data["username"], data["role"]) == ("user-registered", "boss", "admin")
    answer = await api.post("/api/v1/auth/login", json={"username": "boss", "password": PASSWORD})
    assert (await answer.json())["user"]["full_name"] == "The Boss"

    code, output, errors = await run(*BOSS, given=f"{PASSWORD}\n")
    assert (code, output, errors) == (1, "", "jossiedb: this user name is taken\n")


async def test_a_user_with_bad_fields_is_refused_with_all_of_them(settings: Settings) -> None:
    line = await refusal(*BOSS[:3], "b", *BOSS[4:5], "nowhere", *BOSS[6:], given="short\n")
    assert all(f"{field}: " in line for field in ("username", "email", "password"))
    assert "password: must have at least 8 characters" in line
    assert "short" not in line


@pytest.mark.parametrize(("again", "code"), [(PASSWORD, 0), ("something else", 2)])
async def test_on_a_terminal_the_password_is_asked_for_twice_and_not_shown(
    settings: Settings, connection: Connection, again: str, code: int
) -> None:
    master, slave = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *COMMAND, *BOSS, cwd=ROOT, stdin=slave, stderr=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    os.set_blocking(master, False)
    assert process.stderr is not None
    try:
        for prompt, answer in ((b"Password: ", PASSWORD), (b"Again: ", again)):
            # Only after the prompt: text that was typed earlier is thrown away.
            await asyncio.wait_for(process.stderr.readuntil(prompt), TIMEOUT)
            os.write(master, f"{answer}\n".encode())
        output, errors = await asyncio.wait_for(process.communicate(), TIMEOUT)
        assert process.returncode == code, errors
        assert PASSWORD not in (output + errors).decode()
        with pytest.raises(BlockingIOError):  # the password was not echoed
            os.read(master, 4096)
        assert await connection.fetchval("select count(*) from users") == (1 if code == 0 else 0)
    finally:
        os.close(slave)
        os.close(master)


async def test_bad_settings_are_listed_all_at_once_with_their_values(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JWT_EXPIRES_IN", "soonish")
    monkeypatch.setenv("WEBHOOK_TIMEOUT", "4")
    line = await refusal("serve")
    assert "JWT_EXPIRES_IN: " in line
    assert "WEBHOOK_TIMEOUT: " in line
    assert 'not "soonish"' in line


async def test_a_database_that_does_not_exist_is_named(
    settings: Settings, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", re.sub(r"/test_\w+", "/nothing_here", database_url))
    assert '"nothing_here" does not exist; create it first' in await refusal("migrate")


async def test_a_login_that_may_read_nothing_is_refused_in_a_line(
    settings: Settings, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    role = f"reads_nothing_{uuid4().hex}"
    await connection.execute(f"create role {role} login password 'x'")
    try:
        parts = urlsplit(os.environ["DATABASE_URL"])
        address = parts.netloc.rpartition("@")[2]
        monkeypatch.setenv("DATABASE_URL", urlunsplit(parts._replace(netloc=f"{role}:x@{address}")))
        assert "lacks select on schema_migrations" in await refusal("serve", "--port", "0")
        code, output, errors = await run("healthcheck", "--relay")
        assert (code, output) == (1, "")
        assert re.fullmatch("jossiedb: .*permission denied.*\n", errors)
    finally:
        await connection.execute(f"drop role {role}")


async def test_what_the_command_line_does_not_know_is_refused_in_a_line(environment: None) -> None:
    assert "nope" in await refusal("nope")
    assert "--prot" in await refusal("serve", "--prot", "3002")
    assert "--port" in await refusal("serve", "--port", "65536")
    assert "--for" in await refusal("demo", "--for", "soon")
    assert "there is no audit nope" in await refusal("audit", "nope")


async def test_the_help_names_each_command(environment: None) -> None:
    code, output, errors = await run("--help")
    assert (code, errors) == (0, "")
    for command in ("serve", "relay", "migrate", "users", "demo", "healthcheck", "psql", "audit"):
        assert re.search(rf"^│ {command} ", output, re.MULTILINE), command


async def test_psql_opens_the_database_in_use_with_its_own_arguments(
    settings: Settings, connection: Connection
) -> None:
    await connection.execute("create table mark (word text); insert into mark values ('here')")
    assert await run("psql", "-At", "-c", "select word from mark") == (0, "here\n", "")
    code, _, errors = await run("psql", "--set=ON_ERROR_STOP=1", "-c", "select nonsense")
    assert code == 1
    assert 'column "nonsense" does not exist' in errors


async def test_psql_does_not_show_the_password_among_its_arguments() -> None:
    argv, environment = psql.command("postgresql://ada:s%3Acret@localhost:1/db", "-c", "select 1")
    assert argv[1:] == ["-c", "select 1", "postgresql://ada@localhost:1/db"]
    assert environment["PGPASSWORD"] == "s:cret"


@pytest.mark.parametrize(
    ("url", "address", "password"),
    [
        (
            "postgresql://localhost:1/db?user=ada&password=s%3Acret+x",
            "postgresql://localhost:1/db?user=ada",
            "s:cret+x",
        ),
        ("postgresql://ada@h/db?password=secret", "postgresql://ada@h/db", "secret"),
        (
            "postgresql://ada:old@h/db?password=a&sslmode=require&password=b",
            "postgresql://ada@h/db?sslmode=require",
            "b",
        ),
        ("postgresql:///db?host=/run&password=secret", "postgresql:///db?host=/run", "secret"),
    ],
)
async def test_psql_does_not_show_a_password_of_the_query_either(url: str, address: str, password: str) -> None:
    argv, environment = psql.command(url)
    assert argv[1:] == [address]
    assert environment["PGPASSWORD"] == password


async def test_psql_is_not_run_with_the_password_of_a_key(
    settings: Settings, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "postgresql://ada@localhost:1/db?sslkey=/key&sslpassword=secret"
    with pytest.raises(StartupError) as refused:
        psql.command(url)
    assert "sslpassword" in str(refused.value)
    assert "secret" not in str(refused.value)
    monkeypatch.setenv("DATABASE_URL", f"{database_url}{'&' if '?' in database_url else '?'}sslpassword=secret")
    for command in (["psql", "-c", "select 1"], ["audit", "undelivered"]):
        line = await refusal(*command)
        assert "psql would show sslpassword" in line
        assert "secret" not in line


async def test_the_audits_are_listed_with_what_they_tell(environment: None) -> None:
    code, output, errors = await run("audit")
    assert (code, errors) == (0, "")
    names = [line.split()[0] for line in output.splitlines()]
    assert names == sorted(path.stem for path in (ROOT / "sql" / "audit").glob("*.sql"))
    assert all(len(line.split()) > 3 for line in output.splitlines())


async def test_an_audit_that_finds_a_fault_ends_with_exit_code_1(settings: Settings, connection: Connection) -> None:
    code, output, errors = await run("audit", "outbox_completeness")
    assert (code, errors) == (0, "")
    assert "(0 rows)" in output
    at = datetime.now(UTC) - timedelta(hours=2)
    # The script looks at the days that the log has. Before two o'clock, that moment was yesterday.
    await RelayLog(connection).partition(at)
    await connection.execute(
        "insert into audit (action, entity, entity_id, at) values ('register', 'user', uuidv7(), $1)", at
    )
    code, output, _ = await run("audit", "outbox_completeness")
    assert code == 1
    assert "a mutation has no event" in output
    # The script is asked to look one hour back only, so the older fault does not count.
    assert (await run("audit", "outbox_completeness", "-v", "since=1 hour"))[0] == 0


async def test_an_audit_that_only_reports_is_well_whatever_it_returns(
    settings: Settings, connection: Connection
) -> None:
    await connection.execute(
        "insert into outbox (type, data, written_at) values ('test-event', '{}', now() - interval '1 hour')"
    )
    code, output, _ = await run("audit", "undelivered")
    assert code == 0
    assert "test-event" in output


async def test_an_audit_that_psql_cannot_run_is_said_in_a_line(settings: Settings) -> None:
    assert "psql failed" in await refusal("audit", "latency", "-v", "since=whenever")


@pytest.mark.parametrize("variable", ["since", "", "older-than=5m", "older_than", "x=1;drop"])
async def test_a_variable_that_an_audit_does_not_know_is_refused(settings: Settings, variable: str) -> None:
    assert "undelivered takes older_than" in await refusal("audit", "undelivered", "-v", variable)


async def test_ctrl_c_ends_a_command_without_a_traceback(settings: Settings, connection: Connection) -> None:
    await connection.execute("select pg_advisory_lock(1246712659, 3)")  # another migrator holds it
    connected = (
        "select exists (select from pg_stat_activity where datname = current_database() and application_name = $1)"
    )
    async with started("migrate") as process:
        async with asyncio.timeout(TIMEOUT):
            while not await connection.fetchval(connected, "jossiedb migrate"):
                await asyncio.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, errors = await process.communicate()
    assert (process.returncode, errors) == (130, b"")
