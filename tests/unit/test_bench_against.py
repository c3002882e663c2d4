"""When a row of the benchmarks counts as worse than another commit's, and which code each side
runs."""

from pathlib import Path
from typing import Any

import pytest

from bench import against
from bench.against import AgainstError, Comparison, compare, only_one_has, report, scores

_DRAIN = ("drain", "bare script")


def row(scenario: str = "drain", kind: str | None = "at least", **fields: Any) -> dict[str, Any]:
    target = {"kind": kind, "bound": 1.0} if kind else None
    given = {"scenario": scenario, "reference": "bare script", "target": target, "ratios": [0.5], "judged": None}
    return given | {"failed": None} | fields


def test_more_is_better_for_at_least_and_less_for_at_most() -> None:
    assert scores([row(ratios=[0.5])]) == {_DRAIN: 0.5}
    assert scores([row(kind="at most", ratios=[4.0])]) == {_DRAIN: 0.25}
    assert scores([row(judged=0.75)]) == {_DRAIN: 0.75}


def test_rows_that_only_orient_are_left_out() -> None:
    assert scores([row(kind=None), row("idle", "at most", ratios=[], judged=0.0)]) == {}


def test_a_failed_row_ends_the_comparison_and_says_which() -> None:
    with pytest.raises(AgainstError, match="drain failed: no server"):
        scores([row(failed="no server")])


def test_a_row_is_compared_round_by_round() -> None:
    [one] = compare([{_DRAIN: 0.6}, {_DRAIN: 0.9}], [{_DRAIN: 0.5}, {_DRAIN: 1.0}])
    assert one.ratios == pytest.approx((1.2, 0.9))


def test_a_row_that_one_run_lacks_is_not_compared_but_named() -> None:
    assert compare([{_DRAIN: 1.0}], [{}]) == []
    assert only_one_has([{_DRAIN: 1.0}], [{}]) == [_DRAIN]


@pytest.mark.parametrize(
    ("ratios", "worse"),
    [
        ((0.90, 0.91, 0.92, 0.93, 0.94, 0.94, 1.20), True),  # all rounds but one agree
        ((0.90, 0.91, 0.92, 0.93, 0.94, 1.01, 1.20), False),  # two do not
        ((0.96, 0.96, 0.96, 0.96, 0.96, 0.96, 0.50), False),  # too little
        ((1.0,) * 7, False),
    ],
)
def test_worse_takes_a_low_median_and_agreement(ratios: tuple[float, ...], worse: bool) -> None:
    comparison = Comparison(*_DRAIN, ratios)
    assert comparison.worse is worse
    assert report([comparison], "a52fb58").endswith("| worse |" if worse else "| not worse |")


async def test_each_tree_runs_its_own_code(tmp_path: Path) -> None:
    """The installed library is this tree's, so the other tree must come before it."""
    for package in ("bench", "service", "relay"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
    (tmp_path / "bench" / "__main__.py").write_text(
        "import json, pathlib, sys\n"
        "import relay, service\n"
        "path = pathlib.Path(sys.argv[sys.argv.index('--json') + 1])\n"
        "path.write_text(json.dumps([{'service': service.__file__, 'relay': relay.__file__}]))\n"
    )
    assert await against._run(tmp_path, []) == [
        {name: str(tmp_path / name / "__init__.py") for name in ("service", "relay")}
    ]


async def test_a_run_without_figures_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "__main__.py").write_text("raise SystemExit(3)\n")
    with pytest.raises(AgainstError, match="exit code 3"):
        await against._run(tmp_path, [])


@pytest.mark.parametrize("name", ["no-such-commit", "--help"])
async def test_what_is_no_commit_is_refused(name: str) -> None:
    with pytest.raises(AgainstError, match="no commit of this repository"):
        await against.against(name, 1, [])
