"""A PgBouncer of a test, before the run's PostgreSQL or another. It ends with the test."""

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self
from urllib.parse import parse_qs, urlsplit

from service.platform.embedded.account import choose
from tests.support.postgres.shared_server import RUN_DIR

_PATIENCE = 20.0


class PgBouncer:
    """`program` is its path, `server_url` the database behind it, and `settings` more lines of its
    section."""

    def __init__(self, program: str, server_url: str, **settings: str | int) -> None:
        self._program = program
        parts = urlsplit(server_url)
        (self._host,) = parse_qs(parts.query)["host"]
        self._settings = settings
        self._port = _free_port()
        self.url = f"postgresql://postgres@127.0.0.1:{self._port}{parts.path}?sslmode=disable"
        # PgBouncer refuses to run as root, and only the account that the server runs as may use the
        # server's socket.
        self._account = choose(Path(self._host))
        self._directory = Path(tempfile.mkdtemp(prefix="pgbouncer-", dir=os.environ[RUN_DIR]))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Blocks until it accepts connections."""
        self.configure()
        self._account.give(self._directory)
        with (self._directory / "log").open("ab") as log:
            # PgBouncer ends with the tests, however they end.
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", self._program, "--quiet", str(self._directory / "pgbouncer.ini")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,
                **self._account.subprocess_arguments(),
            )
        end = time.monotonic() + _PATIENCE
        with socket.socket() as probe:
            while probe.connect_ex(("127.0.0.1", self._port)):
                assert self._process.poll() is None, self.log()
                assert time.monotonic() < end, self.log()
                time.sleep(0.02)

    def configure(self, **settings: str | int) -> None:
        """Write the configuration, with these settings added or replaced."""
        self._settings |= settings
        options = {
            "listen_addr": "127.0.0.1",
            "listen_port": self._port,
            "unix_socket_dir": "",
            "auth_type": "any",
            "pool_mode": "session",
            "default_pool_size": 60,
            "max_client_conn": 200,
            **self._settings,
        }
        lines = ["[databases]", f"* = host={self._host} port=5432 user=postgres", "[pgbouncer]"]
        lines += [f"{name} = {value}" for name, value in options.items()]
        path = self._directory / "pgbouncer.ini"
        path.write_text("\n".join(lines) + "\n")
        path.chmod(0o644)

    def reload(self, **settings: str | int) -> None:
        """Go on with other settings. No connection is cut."""
        assert self._process is not None
        self.configure(**settings)
        self._process.send_signal(signal.SIGHUP)

    def kill(self) -> None:
        """Kill it at once, with every connection through it."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def log(self) -> str:
        return (self._directory / "log").read_text(errors="replace")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


StartPooler = Callable[..., PgBouncer]
