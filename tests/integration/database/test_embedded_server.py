"""The embedded server, as real processes."""

import asyncio
import fcntl
import os
import re
import signal
import subprocess
import sys
import tempfile
from hashlib import sha256
from pathlib import Path

import asyncpg
import pytest

from service.platform.embedded import account as accounts
from service.platform.embedded.account import Account, check_enter, check_programs
from service.platform.errors import StartupError
from tests.support.postgres.embedded import embedded, postmaster, query, server_runs, wait_until
from tests.support.postgres.shared_server import bin_dir

HOLDER = """
import sys
from pathlib import Path
from service.platform.embedded.server import EmbeddedServer
with EmbeddedServer(Path(sys.argv[1]), bin_dir=Path(sys.argv[2]), sync=False) as url:
    print(url, flush=True)
    sys.stdin.read()
"""
STRANGER = Account("stranger", 54321, 54321, switch=True)


class Holder:
    """Another process that holds the server, until the test ends it."""

    def __init__(self, data_dir: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(data_dir), str(bin_dir())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def url(self) -> str:
        assert self.process.stdout is not None
        # On a busy machine the process first prints that it waits.
        return next(line.strip() for line in self.process.stdout if line.startswith("postgresql:"))

    def leave(self) -> None:
        self.process.communicate()

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


async def test_gives_a_database_that_only_the_socket_reaches(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"PGHOST": "elsewhere", "PGPORT": "1", "PGDATABASE": "another", "PGUSER": "nobody"}.items():
        monkeypatch.setenv(name, value)
    async with embedded(data_dir) as url:
        assert re.match(r"postgresql://postgres@/jossiedb\?host=/", url)
        assert await query(url, "select current_setting('listen_addresses')") == ""
        assert await query(url, "select current_database()") == "jossiedb"
        assert (
            await query(url, "select pg_encoding_to_char(encoding) from pg_database where datname = 'jossiedb'")
            == "UTF8"
        )
        assert await query(url, "select lower('ÄÖ')") == "äö"
    assert not server_runs(data_dir)


async def test_is_shared_and_outlives_all_holders_but_the_last(data_dir: Path) -> None:
    server, other = embedded(data_dir), None
    try:
        url = server.start()
        other = Holder(data_dir)
        assert other.url() == url
        started = postmaster(data_dir)
        server.stop()
        assert await query(url, "select 1") == 1
        assert postmaster(data_dir) == started
    finally:
        server.stop()
        if other is not None:
            other.leave()
    assert not server_runs(data_dir)


def test_processes_that_start_together_share_one_server(data_dir: Path) -> None:
    holders = [Holder(data_dir) for _ in range(4)]
    assert len({holder.url() for holder in holders}) == 1
    log = (data_dir / "postgres.log").read_text()
    for holder in holders:
        holder.leave()
    assert log.count("starting PostgreSQL") == 1
    assert not server_runs(data_dir)


def test_a_killed_holder_is_forgotten(data_dir: Path) -> None:
    killed = Holder(data_dir)
    killed.url()
    killed.kill()
    started = postmaster(data_dir)
    with embedded(data_dir):
        assert postmaster(data_dir) == started
    assert not server_runs(data_dir)


async def test_a_killed_server_recovers_with_its_data(data_dir: Path) -> None:
    async with embedded(data_dir) as url:
        await query(url, "create table kept as select 7 as seven")
        killed = postmaster(data_dir)
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: not server_runs(data_dir))
    assert postmaster(data_dir) == killed, "the stale file is what the next start has to cope with"
    async with embedded(data_dir) as url:
        assert await query(url, "select seven from kept") == 7
    assert "automatic recovery in progress" in (data_dir / "postgres.log").read_text()


async def test_a_server_that_does_not_end_is_stopped_and_recovers(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.platform.embedded.server.FAST_SECONDS", 0.2)
    server = embedded(data_dir)
    url = await asyncio.to_thread(server.start)
    connection = await asyncpg.connect(url)
    await connection.execute("create table kept as select 1 as n")
    checkpointer = await connection.fetchval("select pid from pg_stat_activity where backend_type = 'checkpointer'")
    await connection.close()
    # A fast shutdown waits for the checkpointer. The postmaster kills a stopped process 5 s after
    # an immediate shutdown has begun.
    os.kill(checkpointer, signal.SIGSTOP)
    await asyncio.to_thread(server.stop)
    async with embedded(data_dir) as url:
        connection = await asyncpg.connect(url)
        assert await connection.fetchval("select n from kept") == 1
        await connection.close()


async def test_makes_the_database_again_where_it_was_dropped(data_dir: Path) -> None:
    async with embedded(data_dir) as url:
        await query(url.replace("/jossiedb?", "/postgres?"), "drop database jossiedb")
    async with embedded(data_dir) as url:
        assert await query(url, "select 1") == 1


async def test_a_child_process_does_not_keep_the_server_running(data_dir: Path) -> None:
    async with embedded(data_dir):
        child = subprocess.Popen(["sleep", "600"], close_fds=False)
    try:
        assert not server_runs(data_dir)
    finally:
        child.kill()
        child.wait()


async def test_takes_parameters_of_the_server(data_dir: Path) -> None:
    async with embedded(data_dir, work_mem="7MB") as url:
        assert await query(url, "show work_mem") == "7MB"


def test_a_server_that_does_not_start_says_why_in_one_line(data_dir: Path) -> None:
    with pytest.raises(StartupError) as refused:
        embedded(data_dir, shared_buffers="a lot").start()
    message = str(refused.value)
    assert "shared_buffers" in message
    assert str(data_dir / "postgres.log") in message
    assert "\n" not in message
    with embedded(data_dir):
        assert server_runs(data_dir)


def test_an_interrupted_initdb_is_not_taken_for_a_cluster(data_dir: Path) -> None:
    draft = data_dir / "postgres.init.interrupted"
    draft.mkdir()
    (draft / "PG_VERSION").write_text("18\n")
    (data_dir / "postgres").mkdir()
    with embedded(data_dir):
        assert not draft.exists()


@pytest.mark.parametrize(
    ("name", "content", "says"), [("notes.txt", "mine", "not a PostgreSQL"), ("PG_VERSION", "9.6\n", "9.6")]
)
def test_what_is_not_our_cluster_is_left_alone(data_dir: Path, name: str, content: str, says: str) -> None:
    (data_dir / "postgres").mkdir()
    (data_dir / "postgres" / name).write_text(content)
    with pytest.raises(StartupError, match=says):
        embedded(data_dir).start()
    assert [path.name for path in (data_dir / "postgres").iterdir()] == [name]


@pytest.mark.parametrize("name", ["long" * 30, "a,b"])
async def test_a_path_that_no_socket_can_have_gets_its_socket_elsewhere(data_dir: Path, name: str) -> None:
    async with embedded(data_dir / name) as url:
        directory = Path(url.partition("host=")[2].partition("&")[0])
        assert not directory.is_relative_to(data_dir)
        assert directory.stat().st_mode & 0o777 == 0o700
        assert await query(url, "select 1") == 1
    directory.rmdir()


def test_a_link_in_the_place_of_the_socket_directory_is_refused(data_dir: Path) -> None:
    home = data_dir / ("long" * 30)
    place = (
        Path(tempfile.gettempdir()).resolve() / f"jossiedb-{sha256(os.fsencode(home / 'postgres')).hexdigest()[:24]}"
    )
    place.symlink_to("/etc")
    try:
        with pytest.raises(StartupError, match="remove it"):
            embedded(home).start()
    finally:
        place.unlink()


async def test_a_start_that_is_cancelled_leaves_nothing_behind(data_dir: Path) -> None:
    with (data_dir / "postgres.guard").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        starting = asyncio.ensure_future(embedded(data_dir).__aenter__())
        await asyncio.sleep(0)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
    assert not (data_dir / "postgres").exists()
    async with embedded(data_dir) as url:
        assert await query(url, "select 1") == 1
    assert not server_runs(data_dir)


def test_a_directory_that_the_servers_user_may_not_enter_is_named_and_left_as_it_is(data_dir: Path) -> None:
    home = data_dir / "home"
    inside = home / "checkout" / ".data"
    inside.mkdir(parents=True)
    home.chmod(0o700)
    with pytest.raises(StartupError, match=re.escape(f"may not enter {home}: ")) as refused:
        check_enter(STRANGER, inside)
    assert "JOSSIEDB_DATA_DIR" in str(refused.value)
    assert home.stat().st_mode & 0o777 == 0o700
    home.chmod(0o711)
    check_enter(STRANGER, inside)


def test_programs_that_the_servers_user_may_not_use_are_named(data_dir: Path) -> None:
    for directory in ("bin", "lib", "share"):
        (data_dir / directory).mkdir()
    for program in ("postgres", "initdb"):
        (data_dir / "bin" / program).touch(0o755)
    check_programs(STRANGER, data_dir / "bin")
    (data_dir / "bin" / "initdb").chmod(0o700)
    with pytest.raises(StartupError, match="bin/initdb"):
        check_programs(STRANGER, data_dir / "bin")


@pytest.mark.parametrize(
    ("uid", "gid", "mode", "may"),
    [
        (0, 0, 0o700, True),
        (0, 1, 0o077, False),
        (1, 0, 0o010, True),
        (1, 0, 0o701, False),
        (1, 1, 0o001, True),
        (1, 1, 0o770, False),
    ],
)
def test_permission_bits_count_for_the_first_class_that_fits(
    data_dir: Path, uid: int, gid: int, mode: int, may: bool
) -> None:
    """`uid` and `gid` are 0 for those of the directory, and 1 for others."""
    status = data_dir.stat()
    directory = data_dir / "it"
    directory.mkdir()
    directory.chmod(mode)
    account = Account("someone", status.st_uid + uid, directory.stat().st_gid + gid, switch=True)
    assert account.may(directory, 0o1) is may
    directory.chmod(0o700)  # so that it can be removed


def test_root_does_not_start_the_server_where_its_user_may_not_go(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = data_dir / "home"
    home.mkdir(0o700)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(accounts, "_switch_to", lambda entry: STRANGER)
    monkeypatch.setattr(os, "fchown", lambda *_: None)
    with pytest.raises(StartupError, match=re.escape(f"may not enter {home}")):
        embedded(home).start()
    assert home.stat().st_mode & 0o777 == 0o700
    assert not (home / "postgres").exists()
