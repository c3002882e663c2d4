"""`python -m bench`: the table of docs/PERFORMANCE.md."""

import argparse
import asyncio
import dataclasses
import json
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import uvloop

from bench.against import ROUNDS, AgainstError, against, checked_out
from bench.api import scenario_api, scenario_receiver
from bench.calls import scenario_bulk, scenario_call_to_receiver, scenario_calls, scenario_workers
from bench.commits import scenario_commits, scenario_doorbell
from bench.drain import scenario_drain, scenario_relays
from bench.faults import scenario_idle, scenario_recovery
from bench.history import scenario_history, scenario_open_transaction
from bench.hostile import scenario_hostile
from bench.isolation import scenario_isolation
from bench.latency import scenario_latency
from bench.measure import Row, say
from bench.profile import profile
from bench.report import markdown, table
from bench.webhooks import scenario_fanout, scenario_wide
from bench.world import Options, Tree, World, world
from tests.support.postgres.janitor import Janitor

Scenario = Callable[[World], Awaitable[list[Row]]]
SCENARIOS: dict[str, Scenario] = {
    "receiver": scenario_receiver,
    "commits": scenario_commits,
    "doorbell": scenario_doorbell,
    "drain": scenario_drain,
    "latency": scenario_latency,
    "fanout": scenario_fanout,
    "wide": scenario_wide,
    "isolation": scenario_isolation,
    "hostile": scenario_hostile,
    "history": scenario_history,
    "open-transaction": scenario_open_transaction,
    "api": scenario_api,
    "relays": scenario_relays,
    "idle": scenario_idle,
    "recovery": scenario_recovery,
    "bulk": scenario_bulk,
    "workers": scenario_workers,
}
# Scenarios that drive the programs of two trees in one run. The other scenarios are run by each
# tree's own benchmarks, in turns.
BESIDE: dict[str, Scenario] = {"calls": scenario_calls, "call-to-receiver": scenario_call_to_receiver}
ALL = {**SCENARIOS, **BESIDE}
# A scenario is cut off after so many seconds, and the next one begins.
LIMIT_SECONDS = 1500
PAIRS = 5
QUICK_PAIRS = 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", help=f"scenarios, comma separated, of: {', '.join(ALL)}")
    parser.add_argument("--pairs", type=int, help=f"rounds of interleaved runs: {PAIRS}, or {ROUNDS} with --against")
    parser.add_argument("--quick", action="store_true", help="small counts and one round: shows that it works, no more")
    parser.add_argument("--json", type=Path, help="a file for the raw figures")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    parser.add_argument(
        "--against", metavar="COMMIT", help="run that commit in turns with this tree, and fail where a row got worse"
    )
    parser.add_argument(
        "--profile", type=Path, help="instead: profile the leader in a drain, and PostgreSQL, into a directory"
    )
    parser.add_argument(
        "--transport", choices=("own", "aiohttp", "instant"), default="own", help="of the relays to profile"
    )
    return parser.parse_args()


async def measure(options: Options, names: list[str], directory: Path) -> list[Row]:
    rows: list[Row] = []
    async with world(options, directory) as everything:
        for name in names:
            say(f"{name}")
            started = time.monotonic()
            try:
                async with asyncio.timeout(LIMIT_SECONDS):
                    rows += await ALL[name](everything)
            except Exception as error:  # noqa: BLE001  # the other scenarios are worth having
                reason = " ".join(str(error).split())[:300] or type(error).__name__
                rows.append(Row(name, failed=reason))
                say(f"  failed: {reason}")
            say(f"  {name} took {time.monotonic() - started:.0f} s")
    return rows


def _against(arguments: argparse.Namespace, names: Sequence[str]) -> int:
    rounds = QUICK_PAIRS if arguments.quick else arguments.pairs or ROUNDS
    good = True
    try:
        if beside := [name for name in names if name in BESIDE]:
            with checked_out(arguments.against) as (path, full):
                trees = (Tree("this tree"), Tree(full[:10], path))
                rows = _run(Options(rounds, arguments.quick, trees), beside)
            _report(arguments, rows, Options(rounds, arguments.quick))
            good = all(row.verdict in ("pass", "reported") for row in rows)
        if in_turns := [name for name in names if name in SCENARIOS]:
            quick = ["--quick"] if arguments.quick else []
            text, not_worse = asyncio.run(against(arguments.against, rounds, ["--only", ",".join(in_turns), *quick]))
            print(text)
            good = good and not_worse
    except AgainstError as error:
        say(str(error))
        return 2
    except KeyboardInterrupt:
        return 130
    return 0 if good else 1


def _run(options: Options, names: Sequence[str]) -> list[Row]:
    # Ends the server and removes its data even if this process is killed.
    janitor = Janitor()
    try:
        return uvloop.run(measure(options, list(names), janitor.run_dir))
    finally:
        janitor.finish()


def _profile(options: Options, directory: Path, transport: str) -> int:
    directory.mkdir(parents=True, exist_ok=True)
    janitor = Janitor()
    try:
        uvloop.run(profile(options, janitor.run_dir, directory, transport))
    finally:
        janitor.finish()
    return 0


def _report(arguments: argparse.Namespace, rows: Sequence[Row], options: Options) -> None:
    if arguments.json is not None:
        arguments.json.write_text(json.dumps([dataclasses.asdict(row) for row in rows], indent=1))
    if arguments.markdown:
        print(markdown(rows, options))
    else:
        table(rows, options)


def main() -> int:
    arguments = _arguments()
    names = arguments.only.split(",") if arguments.only else list(ALL)
    if unknown := [name for name in names if name not in ALL]:
        say(f"no such scenario: {', '.join(unknown)}; there are {', '.join(ALL)}")
        return 2
    if arguments.against is not None:
        return _against(arguments, names)
    options = Options(pairs=QUICK_PAIRS if arguments.quick else arguments.pairs or PAIRS, quick=arguments.quick)
    try:
        if arguments.profile is not None:
            return _profile(options, arguments.profile, arguments.transport)
        rows = _run(options, names)
    except KeyboardInterrupt:
        return 130
    _report(arguments, rows, options)
    return 1 if any(row.failed for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
