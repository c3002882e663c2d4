"""The embedded server's data directory: makes it, starts a server on it, and reads its state.

server.py decides when this happens.
"""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from hashlib import sha256
from importlib.resources import as_file, files
from pathlib import Path
from urllib.parse import quote

from service.platform.embedded.account import Account, check_enter, check_programs, choose, make_private, open_ours
from service.platform.errors import StartupError

DATABASE = "jossiedb"
_SUPERUSER = "postgres"
_PORT = "5432"  # part of the name of the socket's file; the server does not listen on TCP
_SOCKET_PATH_BYTES = 107
_DRAFT = "postgres.init."
_LOG_BYTES = 8 * 1024 * 1024
_LOG_LINES = 5
REMOVE_SECONDS = 5.0
# Line numbers in postmaster.pid.
_SOCKET_DIR, _STATUS = 4, 7


class Cluster:
    """The cluster in `<data_dir>/postgres`, with the log of its server beside it."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self.path = data_dir / "postgres"
        self.log = data_dir / "postgres.log"
        self._log_start = 0

    def accepts(self) -> bool:
        """Whether the server takes connections."""
        if self._pid_file(_STATUS) != "ready":
            return False
        # A server that was killed leaves postmaster.pid behind. Its socket refuses connections.
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(f"{self._pid_file(_SOCKET_DIR)}/.s.PGSQL.{_PORT}") == 0

    def postmaster(self) -> int | None:
        first = self._pid_file(0)
        return int(first) if first.isdigit() else None

    def url(self) -> str:
        """The database's URL, with the socket of the running server."""
        directory = quote(self._pid_file(_SOCKET_DIR), safe="/")
        return f"postgresql://{_SUPERUSER}@/{DATABASE}?host={directory}&port={_PORT}"

    def log_tail(self) -> str:
        """The last lines that the server has logged since its launch, joined into one line."""
        with self.log.open("rb") as file:
            file.seek(self._log_start)
            lines = file.read().decode(errors="replace").splitlines()
        return " | ".join(line.strip() for line in lines[-_LOG_LINES:]) or "it logged nothing"

    def prepare(self, programs: Path, *, sync: bool) -> Account:
        """Make the cluster if there is none, and return the user that the server is to run as.
        Raises StartupError.

        With `sync=False`, a new cluster may not survive a crash of the machine.
        """
        account = choose(self.path)
        # These checks come before any write, so that a refusal leaves nothing behind.
        check_enter(account, self._data_dir)
        check_programs(account, programs)
        for draft in self._data_dir.glob(_DRAFT + "*"):
            _remove(draft)
        if self.path.exists() and any(self.path.iterdir()):
            self._check_version(programs)
        else:
            self._init(programs, account, sync=sync)
        return account

    def launch(
        self, programs: Path, account: Account, settings: Mapping[str, str], lock: int
    ) -> "subprocess.Popen[bytes]":
        """Start the server, without waiting for it. It inherits the file descriptor `lock`."""
        parameters = {
            "listen_addresses": "",
            "port": _PORT,
            "unix_socket_directories": str(self._socket_dir(account)),
            "unix_socket_permissions": "0700",
            "logging_collector": "off",
            "log_destination": "stderr",
            **settings,
        }
        command = [str(programs / "postgres"), "-D", str(self.path)]
        for name, value in parameters.items():
            command += ["-c", f"{name}={value}"]
        if self.log.exists() and self.log.stat().st_size > _LOG_BYTES:
            self.log.replace(self.log.with_suffix(".log.1"))
        with os.fdopen(open_ours(self.log, os.O_WRONLY | os.O_APPEND), "ab") as log:
            self._log_start = log.tell()
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=_environment(),
                pass_fds=[lock],
                # Ctrl-C in the terminal must end the server's clients only. The last of them stops
                # it.
                start_new_session=True,
                **account.subprocess_arguments(),
            )

    def ensure_database(self, programs: Path) -> None:
        server = f"host={_quoted(self._pid_file(_SOCKET_DIR))} port={_PORT} user={_SUPERUSER} dbname=postgres"
        with as_file(files("sql") / "embedded" / "create_database.sql") as script:
            variables = ["--set", "ON_ERROR_STOP=1", "--set", f"name={DATABASE}"]
            done = subprocess.run(
                [str(programs / "psql"), "-Xq", *variables, "-f", str(script), server],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                env=_environment(),
                check=False,
            )
        if done.returncode:
            raise StartupError(f"the embedded PostgreSQL's database cannot be made: {_one_line(done.stderr)}")

    def _init(self, programs: Path, account: Account, *, sync: bool) -> None:
        """Make the cluster with initdb. It is made in a draft directory, and renamed when it is
        complete. So an interrupted initdb leaves a draft, and never half a cluster."""
        options = ["--auth=trust", "--encoding=UTF8", "--username", _SUPERUSER, "--no-instructions", "--lc-messages=C"]
        if _major(programs) >= 17:
            options += ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        else:
            options += ["--locale=C.UTF-8"]
        if not sync:
            options.append("--no-sync")
        draft = Path(tempfile.mkdtemp(prefix=_DRAFT, dir=self._data_dir))
        try:
            account.give(draft)
            done = subprocess.run(
                [str(programs / "initdb"), "-D", str(draft), *options],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                cwd="/",
                env=_environment(),
                check=False,
                **account.subprocess_arguments(),
            )
            if done.returncode:
                raise StartupError(f"initdb in {self._data_dir} failed: {_one_line(done.stderr)}")
            draft.rename(self.path)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise

    def _check_version(self, programs: Path) -> None:
        try:
            version = (self.path / "PG_VERSION").read_text(encoding="ascii").strip()
        except FileNotFoundError:
            raise StartupError(
                f"{self.path} is not a PostgreSQL data directory; move it away, or set JOSSIEDB_DATA_DIR"
            ) from None
        if version != str(_major(programs)):
            raise StartupError(
                f"{self.path} was made by PostgreSQL {version}, the embedded one is {_major(programs)}; "
                "move it away, or set JOSSIEDB_DATA_DIR, or set DATABASE_URL"
            )

    def _socket_dir(self, account: Account) -> Path:
        """The directory for the server's socket. It is the cluster's directory, if possible.

        Otherwise it is a temporary directory whose name is a hash of the cluster's path. That is
        needed if the socket's path would be too long, or has a comma, which would split it into
        two.
        """
        path = str(self.path)
        if len(os.fsencode(f"{path}/.s.PGSQL.{_PORT}")) <= _SOCKET_PATH_BYTES and "," not in path:
            return self.path
        temporary = Path(tempfile.gettempdir()).resolve()
        check_enter(account, temporary)
        directory = temporary / f"jossiedb-{sha256(os.fsencode(path)).hexdigest()[:24]}"
        make_private(account, directory)
        return directory

    def _pid_file(self, line: int) -> str:
        try:
            lines = (self.path / "postmaster.pid").read_text(errors="surrogateescape").splitlines()
        except FileNotFoundError:
            return ""
        return lines[line].strip() if len(lines) > line else ""


def _major(programs: Path) -> int:
    command = [str(programs / "postgres"), "--version"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
    return int(done.stdout.split()[2].split(".")[0])


def _environment() -> dict[str, str]:
    """This process's environment, without variables that would change the server that the programs
    connect to, or the language of their messages."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
    return kept | {"LC_ALL": "C"}


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _one_line(text: str) -> str:
    return " | ".join(line.strip() for line in text.strip().splitlines()[-_LOG_LINES:])


def _remove(draft: Path) -> None:
    """Remove a draft that an earlier start has left behind. The initdb that filled it may have
    outlived that process, and may still write for a moment. Raises StartupError."""
    deadline = time.monotonic() + REMOVE_SECONDS
    while draft.exists():
        try:
            shutil.rmtree(draft)
        except OSError as error:
            if time.monotonic() > deadline:
                raise StartupError(
                    f"{draft}, left by a start that was cut off, cannot be removed: {error.strerror or error}"
                ) from None
            time.sleep(0.1)
