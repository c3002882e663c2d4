"""The API and a relay as processes, for the contract tests."""

import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.command_line import create_user, served_address
from tests.support.contract.client import PASSWORD
from tests.support.paths import ROOT
from tests.support.waiting import PATIENCE


@dataclass
class System:
    """`jossiedb serve` and `jossiedb relay` as processes with this environment."""

    directory: Path
    environment: Mapping[str, str]
    address: str = ""
    _processes: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    def start(self) -> None:
        self._start("relay", "relay")
        api = self._start("api", "serve", "--port", "0")
        end = time.monotonic() + PATIENCE
        log = self.directory / "api.log"
        while not (address := served_address(log)):
            assert api.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.02)
        self.address = address

    def stop(self) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(PATIENCE)

    def create_user(self, username: str, role: str) -> None:
        create_user(username, role, PASSWORD, self.environment)

    def _start(self, name: str, *command: str) -> "subprocess.Popen[bytes]":
        with (self.directory / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "service", *command], stdout=log, stderr=log, env=self.environment, cwd=ROOT
            )
        self._processes.append(process)
        return process
