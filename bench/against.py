"""`--against COMMIT`: runs this tree and that commit in turns, and names the rows that got
worse."""

import asyncio
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from bench.measure import say, shown

ROUNDS = 7
# A row is worse if the median of its rounds is below this, and all rounds but one agree.
WORSE = 0.95
TREE = Path(__file__).resolve().parents[1]

# A row of the table, by its scenario and its reference. A score is higher for a better run.
Key: TypeAlias = tuple[str, str]
Scores: TypeAlias = Mapping[Key, float]


class AgainstError(Exception):
    """The comparison cannot be made; the message says why."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One row in both trees. `ratios` has one ratio a round: this tree's score divided by the
    other's, so above 1 is better."""

    scenario: str
    reference: str
    ratios: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.ratios)

    @property
    def worse(self) -> bool:
        return self.median < WORSE and sum(ratio < 1 for ratio in self.ratios) >= len(self.ratios) - 1


def scores(rows: Sequence[Mapping[str, Any]]) -> dict[Key, float]:
    """The scores of one run, from its JSON.

    A row's figure is a ratio to a reference of the same run, so a slow minute of the machine slows
    both. Rows without a target are left out. Raises AgainstError for a failed row.
    """
    found = {}
    for row in rows:
        if row["failed"] is not None:
            raise AgainstError(f"{row['scenario']} failed: {row['failed']}")
        value = row["judged"] if row["judged"] is not None else _median(row["ratios"])
        if row["target"] is None or not value:
            continue
        found[row["scenario"], row["reference"]] = value if row["target"]["kind"] == "at least" else 1 / value
    return found


def compare(here: Sequence[Scores], there: Sequence[Scores]) -> list[Comparison]:
    """The rows that every round of both trees has, in the order of this tree's."""
    both = [key for key in here[0] if all(key in each for each in (*here, *there))]
    return [
        Comparison(*key, tuple(ours[key] / theirs[key] for ours, theirs in zip(here, there, strict=True)))
        for key in both
    ]


def only_one_has(here: Sequence[Scores], there: Sequence[Scores]) -> list[Key]:
    """The rows that cannot be compared, because a run lacks them."""
    runs = (*here, *there)
    return sorted({key for each in runs for key in each if not all(key in other for other in runs)})


def report(comparisons: Sequence[Comparison], commit: str) -> str:
    """A Markdown table."""
    lines = [f"| scenario | reference | this tree ÷ {commit[:10]} | min – max | |", "|---|---|---|---|---|"]
    for each in comparisons:
        spread = f"{shown(min(each.ratios))} – {shown(max(each.ratios))}"
        verdict = "worse" if each.worse else "not worse"
        lines.append(f"| {each.scenario} | {each.reference} | {shown(each.median)} | {spread} | {verdict} |")
    return "\n".join(lines)


async def against(commit: str, rounds: int, options: Sequence[str]) -> tuple[str, bool]:
    """The report, and whether no row is worse. `options` are those of `python -m bench`. Raises
    AgainstError."""
    here: list[Scores] = []
    there: list[Scores] = []
    with checked_out(commit) as (other, full):
        for number in range(rounds):
            order = ((TREE, here), (other, there)) if number % 2 == 0 else ((other, there), (TREE, here))
            for tree, runs in order:
                say(f"round {number + 1} of {rounds}: {'this tree' if tree == TREE else full[:10]}")
                runs.append(scores(await _run(tree, options)))
    comparisons = compare(here, there)
    if not comparisons:
        raise AgainstError("the two trees have no row in common that has a target")
    for scenario, reference in only_one_has(here, there):
        say(f"not in every run: {scenario} ({reference})")
    return report(comparisons, full), not any(each.worse for each in comparisons)


@contextlib.contextmanager
def checked_out(commit: str) -> Iterator[tuple[Path, str]]:
    """A directory that holds the commit's files, and the commit's full name."""
    full = _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{commit}^{{commit}}").decode().strip()
    if not full:
        raise AgainstError(f"{commit} is no commit of this repository")
    with tempfile.TemporaryDirectory(prefix="jossiedb-against-") as directory:
        archive = Path(directory) / "files.tar"
        archive.write_bytes(_git("archive", "--format=tar", full))
        tree = Path(directory) / "tree"
        with tarfile.open(archive) as files:
            files.extractall(tree, filter="data")
        if (tree / "requirements.lock").read_bytes() != (TREE / "requirements.lock").read_bytes():
            say("the two trees lock other versions of libraries; both run with this tree's")
        yield tree, full


def _git(*arguments: str) -> bytes:
    done = subprocess.run(["git", "-C", str(TREE), *arguments], capture_output=True, check=False)
    if done.returncode and (reason := done.stderr.decode(errors="replace").strip()):
        raise AgainstError(reason)
    return done.stdout


async def _run(tree: Path, options: Sequence[str]) -> list[dict[str, Any]]:
    """One round of the tree's own benchmarks, with the tree's own code."""
    with tempfile.TemporaryDirectory(prefix="jossiedb-round-") as directory:
        result = Path(directory) / "rows.json"
        arguments = ("-m", "bench", "--pairs", "1", "--json", str(result), *options)
        # The installed package is this tree's. The other tree must come before it.
        environment = os.environ | {"PYTHONPATH": str(tree)}
        async with _process(*arguments, cwd=tree, env=environment) as process:
            await process.wait()
        if not result.exists():
            raise AgainstError(f"the benchmarks in {tree} ended with exit code {process.returncode} and no figures")
        rows: list[dict[str, Any]] = json.loads(result.read_text())
        return rows


@asynccontextmanager
async def _process(*arguments: str, cwd: Path, env: Mapping[str, str]) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, cwd=cwd, env=env, stdout=asyncio.subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            # On SIGINT it ends its own children.
            process.send_signal(signal.SIGINT)
            await process.wait()


def _median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None
