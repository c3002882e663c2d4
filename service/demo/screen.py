"""The output of the demo: live on a terminal, plain lines elsewhere."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from service.demo.seed import USERS
from service.demo.tally import Received, Tally

_OK = 200


class Screen:
    """Prints to stdout. On a terminal, a line of counts stands below the output within the
    context."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=True)
        self._live = (
            Live(console=self._console, refresh_per_second=5, transient=True) if self._console.is_terminal else None
        )

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live:
            self._live.stop()

    def say(self, text: str) -> None:
        self._console.print(Text(text))

    def complain(self, *lines: str) -> None:
        for line in lines:
            self._console.print(Text(line, style="red"))

    def notice(self, text: str) -> None:
        """An unusual event."""
        self._console.print(Text(f"{_clock()}  {text}", style="bold"))

    def mutation(self, text: str) -> None:
        self._console.print(Text(f"{_clock()}  {text}", style="dim"))

    def delivery(self, name: str, line: dict[str, Any], received: Received) -> None:
        """One request that the receiver got."""
        good = line["verified"] and line["answer"] == _OK
        text = Text(f"{_clock()}    ")
        text.append(f"{line['type']:<17}", style="bold")
        text.append(f" → {name:<10}  attempt {line['attempt']}  {line['latencyMs']:>7.1f} ms  ")
        verified = ("signatures verified", "green") if line["verified"] else ("SIGNATURE WRONG", "bold red")
        text.append(*verified)
        answer = f"  answered {line['answer']}" if isinstance(line["answer"], int) else f"  {line['answer']}"
        text.append(answer, style="green" if good else "yellow")
        text.append(f"  {line['about']}" if line["about"] else "", style="dim")
        self._console.print(text)
        if self._live:
            self._live.update(Text(
                f"{received.requests} requests · {len(received.succeeded)} delivered · {len(received.retried)} retried · "
                f"{received.unverified} signature failures · Ctrl-C ends it",
                style="reverse",
            ))  # fmt: skip

    def welcome(self, address: str, item: dict[str, Any], logs: Path, relay_pid: int) -> None:
        """`relay_pid` is the process of a relay that the user may kill."""
        admin = USERS[0]
        self.say(f"\nThe API is at {address}/api/v1, the logs are in {logs}. The logins:")
        for user in USERS:
            self.say(f"  {user.username:<12}{user.password}")
        login = f'{{"username": "{admin.username}", "password": "{admin.password}"}}'
        self.say(
            "\nTo try next, in another terminal: set an item below its minimum, and watch the events arrive here.\n"
        )
        self.say(
            f"TOKEN=$(curl -s {address}/api/v1/auth/login -H 'Content-Type: application/json' \\\n"
            f"""  -d '{login}' | sed 's/.*"token":"\\([^"]*\\)".*/\\1/')\n"""
            f'curl -s -X PUT {address}/api/v1/items/{item["id"]} -H "Authorization: Bearer $TOKEN" \\\n'
            f"""  -H 'Content-Type: application/json' -d '{{"quantity": {max(0, item["min_quantity"] - 1)}}}'\n"""
        )

        self.say(f"Or kill a relay, and watch the other one take over:  kill -9 {relay_pid}\n")

    def summary(self, tally: Tally) -> None:
        rows: Sequence[tuple[str, str]] = (
            ("events written", str(tally.events)),
            ("deliveries owed", str(tally.owed)),
            ("delivered", str(tally.delivered)),
            ("retried", str(tally.retried)),
            ("received more than once", str(tally.repeated)),
            ("signature failures", str(tally.unverified)),
            ("lost", str(tally.lost)),
            (
                "from change to receiver",
                f"median {tally.median_ms:.0f} ms, 95 % within {tally.p95_ms:.0f} ms (first attempts)",
            ),
        )
        if not self._console.is_terminal:
            for name, value in rows:
                self.say(f"{name}: {value}")
            return
        table = Table(show_header=False)
        for name, value in rows:
            table.add_row(name, value, style="green" if tally.good else "red")
        self._console.print(table)


def _clock() -> str:
    return datetime.now().astimezone().isoformat(timespec="milliseconds")[11:23]
