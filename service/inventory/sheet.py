"""Items as CSV (RFC 4180): reading and writing files, with cells that no spreadsheet takes for
formulas."""

import csv
import difflib
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from service.inventory.models import ItemUpdate
from service.platform.errors import BadRequest

COLUMNS = (
    "id",
    "name",
    "sku",
    "serial_number",
    "description",
    "quantity",
    "reserved_quantity",
    "min_quantity",
    "condition",
    "status",
    "purchase_date",
    "category_id",
    "location_id",
    "attributes",
    "created_at",
    "updated_at",
)
# Columns that only the server sets. An import may have them, without effect, so that an export can
# be imported.
SERVER_SET = frozenset({"reserved_quantity", "created_at", "updated_at"})
# A line with the longest texts that an item may have is far shorter.
MAX_LINE_CHARS = 64 * 1024
# A formula to a spreadsheet, or such a formula behind apostrophes. Each gets one more apostrophe,
# so the first apostrophe is always ours.
_FORMULA = re.compile(r"'*[=+\-@\t\r]")
# The columns that an import may have. The name of a location may stand for its id.
TAKEN = (*COLUMNS, "location_name")
_NULLABLE = frozenset(
    {"sku", "serial_number", "description", "purchase_date", "category_id", "location_id", "location_name"}
)
assert set(ItemUpdate.model_fields) | SERVER_SET | {"id"} == set(TAKEN), "a field of an item has no column"


@dataclass(frozen=True, slots=True)
class Line:
    """A row of the table, which may span several lines of the file. `number` is the number of the
    first of them, counted from 1. `cells` has the text of each column. `fault` says why the line
    cannot be read."""

    number: int
    cells: dict[str, str]
    fault: str | None = None


def guarded(cell: str) -> str:
    """The cell, behind an apostrophe if it looks like a formula, so that a spreadsheet takes it for
    text. `unguarded` removes the apostrophe."""
    return f"'{cell}" if _FORMULA.match(cell) else cell


def unguarded(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def written(rows: Sequence[Sequence[str]]) -> bytes:
    """The rows as CSV in UTF-8. Each line ends with CR and LF."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerows([guarded(cell) for cell in row] for row in rows)
    return out.getvalue().encode()


def read(raw: bytes) -> Iterator[Line | None]:
    """Yields the lines below the first, which names the columns. For a blank line it yields None,
    so that the caller can count and pause between blank lines, too. Raises BadRequest if the file
    is not UTF-8 or its first line cannot be read."""
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise BadRequest(f"line {line} is not UTF-8") from None
    source = _Source(text)
    head = text[:MAX_LINE_CHARS].splitlines()[:1]
    delimiter = ";" if head and ";" in head[0] and "," not in head[0] else ","
    rows = csv.reader(source, delimiter=delimiter, strict=True)
    try:
        columns = _columns(next(rows, []))
    except csv.Error as error:
        raise BadRequest(f"line 1: {error}") from None
    while True:
        source.begin()
        try:
            cells = next(rows, None)
        except csv.Error as error:
            # After this error, nothing shows where the next row begins.
            yield Line(source.first, {}, f"is not CSV: {error}")
            return
        if cells is None:
            return
        if not cells:
            yield None
            continue
        if len(cells) != len(columns):
            yield Line(source.first, {}, f"has {len(cells)} cells, and the first line names {len(columns)} columns")
            continue
        yield Line(source.first, dict(zip(columns, map(unguarded, cells), strict=True)))


class _Source:
    """The lines of a text, for csv.reader. `first` is the number of the line where the present row
    began. Raises csv.Error if a row has more than MAX_LINE_CHARS characters."""

    def __init__(self, text: str) -> None:
        self._lines = io.StringIO(text, newline="")
        self._number = self._chars = 0
        self.first = 1

    def begin(self) -> None:
        """A row begins with the next line."""
        self._chars = 0
        self.first = self._number + 1

    def __iter__(self) -> "_Source":
        return self

    def __next__(self) -> str:
        line = self._lines.readline(MAX_LINE_CHARS + 1)
        if not line:
            raise StopIteration
        self._number += 1
        self._chars += len(line)
        if self._chars > MAX_LINE_CHARS:
            raise csv.Error(f"it has more than {MAX_LINE_CHARS} characters")
        return line


def _columns(head: Sequence[str]) -> list[str]:
    columns = [name.strip() for name in head]
    if not any(columns):
        raise BadRequest("line 1 must name the columns, such as name,sku,quantity")
    for name in columns:
        if name not in TAKEN:
            near = difflib.get_close_matches(name[:64].lower(), TAKEN, n=1)
            instead = f"did you mean {near[0]}" if near else f"there are {', '.join(TAKEN)}"
            raise BadRequest(f"line 1: {name[:64]!r} is not a column; {instead}")
        if columns.count(name) > 1:
            raise BadRequest(f"line 1 names {name} twice")
    if not {"name", "id"} & set(columns):
        raise BadRequest("line 1 must name the column name, or id to change items")
    return columns


def fields_of(line: Line) -> dict[str, Any]:
    """The fields of an item in this line, as a JSON body would have them. If the line changes an
    item, an empty cell makes a field null that may be null. Any other empty cell is left out."""
    changes = bool(line.cells.get("id"))
    fields: dict[str, Any] = {}
    for name, cell in line.cells.items():
        if name in SERVER_SET or name == "id":
            continue
        if cell:
            fields[name] = cell
        elif changes and name in _NULLABLE:
            fields[name] = None
    return fields
