"""The table, for a terminal and for docs/PERFORMANCE.md."""

import platform
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.measure import Row
from bench.world import Options

_WIDTH = 180
_HEADINGS = (
    "scenario",
    "reference",
    "target",
    "median",
    "min – max",
    "absolute, for orientation",
    "CPU a delivery",
    "",
)


def _cells(row: Row) -> tuple[str, ...]:
    judged = row.judged if row.judged is not None else row.median
    return (
        row.scenario,
        row.reference,
        str(row.target) if row.target else "–",
        f"{judged:.2f}" if judged is not None else "–",
        f"{min(row.ratios):.2f} – {max(row.ratios):.2f}" if row.ratios else "–",
        row.absolute or "–",
        row.cpu or "–",
        row.verdict,
    )


def _how(options: Options) -> str:
    if options.quick:
        return "Quick: small counts, one round. It shows that the scenarios work; its figures say nothing."
    return f"Medians of {options.pairs} rounds of interleaved runs."


def machine() -> str:
    """The machine that the benchmarks ran on."""
    model = "unknown CPU"
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as file:
            models = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
        if models:
            model = f"{len(models)} × {models[0]}"
    except OSError:
        pass
    return f"{model}, {platform.system()} {platform.release()}, Python {platform.python_version()}"


def table(rows: Sequence[Row], options: Options) -> None:
    console = Console()
    if console.width < _WIDTH:
        # Eight columns are unreadable in less. A log or a terminal may wrap them.
        console = Console(width=_WIDTH)
    shown = Table(show_lines=True)
    for heading in _HEADINGS:
        shown.add_column(heading, overflow="fold")
    for row in rows:
        shown.add_row(*_cells(row))
    console.print(shown)
    console.print(_how(options), machine())


def markdown(rows: Sequence[Row], options: Options) -> str:
    lines = ["| " + " | ".join(_HEADINGS) + " |", "|" + "---|" * len(_HEADINGS)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in _cells(row)) + " |" for row in rows]
    return "\n".join([*lines, "", _how(options), f"Machine: {machine()}."])
