"""The import of items from a CSV file. All lines are imported in one transaction, or none. Each
line has the effect that a request for it alone would have."""

import time
from asyncio import sleep
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

import orjson
from typing_extensions import TypedDict

from service.api.call import Call, Csv, Reply
from service.api.fields import Query
from service.api.parsing import loads, parse_object
from service.api.problems import MAX_DETAIL_CHARS, cut
from service.api.slices import SLICE_SECONDS
from service.inventory import sheet
from service.inventory.commands import bulk
from service.inventory.commands.bulk import Change
from service.inventory.models import ItemCreate, ItemUpdate
from service.inventory.sheet import Line
from service.platform.errors import BadRequest, FieldError, PayloadTooLarge, Problem
from service.platform.ids import parse_id

MAX_BYTES = 10 * 1024 * 1024
MAX_LINES = 10_000
# How many bad lines an answer names.
MAX_NAMED = 20
# The outcome of a line: the item's id, the problem of the line, or its change if that was not begun
# or was undone.
Outcome = UUID | Problem | Change


class ImportQuery(Query):
    """With `dry_run`, everything is tried and nothing is kept."""

    dry_run: bool = False


class LineProblem(TypedDict):
    """`line` is counted from 1, which is the line that names the columns. `column` is null if the
    problem concerns the whole line."""

    line: int
    column: str | None
    detail: str


class ImportReport(TypedDict):
    """`created` and `updated` say how many lines were done, or could be done in a dry run.
    `problems` names the first bad lines."""

    dry_run: bool
    lines: int
    created: int
    updated: int
    bad_lines: int
    problems: list[LineProblem]


async def import_items(call: Call[Csv, ImportQuery]) -> Reply:
    lines, changes = await _parsed(sheet.read(call.body.raw))
    if call.query.dry_run:
        outcomes: Sequence[Outcome] = await bulk.run(call.pool, call.origin, changes, all_or_none=True, dry_run=True)
        return Reply(_report(lines, changes, outcomes, dry_run=True))
    good = [change for change in changes if isinstance(change, Change)]
    if len(good) < len(changes):
        # Refuse the file before anything is locked.
        raise _refusal(_report(lines, changes, changes, dry_run=False), changes)
    try:
        done = await bulk.run_all(call.pool, call.origin, good)
    except bulk.Refused as refused:
        outcomes = [*good[: refused.index], refused.problem, *good[refused.index + 1 :]]
        raise _refusal(_report(lines, changes, outcomes, dry_run=False), outcomes) from None
    return Reply(_report(lines, changes, done, dry_run=False))


async def _parsed(lines: Iterable[Line | None]) -> tuple[list[Line], list[Change | Problem]]:
    """The lines that are not blank, and the change or the problem of each. Raises BadRequest,
    PayloadTooLarge."""
    found: list[Line] = []
    changes: list[Change | Problem] = []
    end = time.perf_counter() + SLICE_SECONDS
    blank = 0
    for line in lines:
        if line is None:
            blank += 1
            if blank > MAX_LINES:
                raise PayloadTooLarge(f"the file has more than {MAX_LINES} blank lines")
        elif len(found) == MAX_LINES:
            raise PayloadTooLarge(f"the file has more than {MAX_LINES} lines of items")
        else:
            changes.append(_change_or_problem(line))
            # The change holds the cells. After that, only the number of the line is needed.
            found.append(Line(line.number, {}))
        if time.perf_counter() > end:
            await sleep(0)
            end = time.perf_counter() + SLICE_SECONDS
    return found, changes


def _change_or_problem(line: Line) -> Change | Problem:
    try:
        return _change(line)
    except BadRequest as problem:
        return problem


def _change(line: Line) -> Change:
    """Raises BadRequest."""
    if line.fault is not None:
        raise BadRequest(line.fault)
    fields: dict[str, Any] = sheet.fields_of(line)
    if "attributes" in fields:
        try:
            fields["attributes"] = loads(fields["attributes"])
        except orjson.JSONDecodeError:
            raise BadRequest.at("/attributes", "must be a JSON object") from None
    if not (given := line.cells.get("id")):
        return Change("create", None, parse_object(ItemCreate, fields)[0].model_dump())
    id = parse_id(given)
    if id is None:
        raise BadRequest.at("/id", "must be an id (a UUID)")
    return Change("update", id, parse_object(ItemUpdate, fields)[0].model_dump(exclude_unset=True))


def _report(
    lines: Sequence[Line],
    changes: Sequence[Change | Problem],
    outcomes: Sequence[Outcome],
    *,
    dry_run: bool,
) -> ImportReport:
    bad = [(line, outcome) for line, outcome in zip(lines, outcomes, strict=True) if isinstance(outcome, Problem)]
    done = [change for change, outcome in zip(changes, outcomes, strict=True) if not isinstance(outcome, Problem)]
    created = sum(isinstance(change, Change) and change.id is None for change in done)
    return {
        "dry_run": dry_run,
        "lines": len(lines),
        "created": created,
        "updated": len(done) - created,
        "bad_lines": len(bad),
        "problems": [entry for line, problem in bad[:MAX_NAMED] for entry in _line_problems(line, problem)],
    }


def _line_problems(line: Line, problem: Problem) -> list[LineProblem]:
    errors = problem.errors or (FieldError("", problem.detail),)
    return [
        {
            "line": line.number,
            "column": error.pointer.split("/")[1] if error.pointer else None,
            "detail": cut(error.detail, MAX_DETAIL_CHARS),
        }
        for error in errors[:MAX_NAMED]
    ]


def _refusal(report: ImportReport, outcomes: Sequence[Outcome]) -> Problem:
    """A problem of the same type as that of the first bad line. It has the figures of the
    report."""
    kind = next(type(outcome) for outcome in outcomes if isinstance(outcome, Problem))
    first = report["problems"][0]
    where = f"line {first['line']}" + (f", {first['column']}" if first["column"] else "")
    more = f" (and {report['bad_lines'] - 1} more lines)" if report["bad_lines"] > 1 else ""
    refusal = kind(f"nothing was imported: {where}: {first['detail']}{more}")
    refusal.members = {name: report[name] for name in ("lines", "bad_lines", "problems")}
    return refusal
