"""Checks that documents, docstrings and comments are in plain English. `make check` runs it.

It reports words and constructions that tools/prose.toml rules out, sentences that are too long, and
lines that are too wide. prose.toml also lists the paths that are checked.
"""

import ast
import io
import re
import sys
import tokenize
import tomllib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
RULES_FILE = Path(__file__).with_name("prose.toml")

_FENCE = re.compile(r" *(?:```|~~~)")
_LIST_ITEM = re.compile(r" *(?:[-*+]|\d+[.)]) +")
_HEADING = re.compile(r"#+ ")
_TABLE_ROW = re.compile(r" *\|")
_CELL_END = re.compile(r"(?<!\\)\|")
_CODE = re.compile(r"(`+).+?\1")
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_ADDRESS = re.compile(r"\]\([^)]*(?:\)|$)|https?://\S+")
_SENTENCE_END = re.compile(r"(?<=[.!?])[*_\"')\]]*\s+(?=[*_\"'(\[`]*[A-Z0-9`])")
_WORD = re.compile(r"[^\W_][\w'’./%-]*")
_MARKS = "*_ \"'()[]"
_QUOTES = re.compile(r'^\s*r?"""|"""\s*$')
# Comments for tools.
_DIRECTIVE = re.compile(r"#!|# (?:type: ignore|noqa|ruff:|fmt:|mypy:|pragma)|-- name: ")


@dataclass(frozen=True, slots=True)
class Rule:
    """A sentence in which `found` is found is reported with the advice `instead`."""

    found: re.Pattern[str]
    instead: str


@dataclass(frozen=True, slots=True)
class Rules:
    """tools/prose.toml, which explains the names."""

    max_words: int
    max_columns: int
    checked: tuple[str, ...]
    generated: frozenset[str]
    by_eye: frozenset[str]
    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class Line:
    """A line of prose without its marks. An empty one ends a paragraph, and so does one that stands
    apart, such as a list item. `width` is in columns, and 0 for a line that cannot wrap."""

    number: int
    text: str
    width: int = 0
    apart: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    path: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}"


def load_rules(file: Path = RULES_FILE) -> Rules:
    given = tomllib.loads(file.read_text(encoding="utf-8"))
    return Rules(
        given["max_words"],
        given["max_columns"],
        tuple(given["checked"]),
        frozenset(given["generated"]),
        frozenset(given["by_eye"]),
        tuple(Rule(re.compile(rule["found"]), rule["instead"]) for rule in given["rules"]),
    )


def checked_files(rules: Rules) -> Iterator[Path]:
    """The files at the listed paths. Raises FileNotFoundError if a path does not exist."""
    for name in rules.checked:
        path = ROOT / name
        if not path.exists():
            raise FileNotFoundError(path)
        for file in [path] if path.is_file() else sorted(path.rglob("*")):
            if file.suffix in _READERS and not {"vendor", "__pycache__"} & set(file.parts):
                yield file


def check(text: str, path: str, rules: Rules) -> list[Finding]:
    """The findings in one file's text. The ending of `path` says how the text is read."""
    lines = list(_READERS[Path(path).suffix](text))
    found = [Finding(path, number, message) for number, message in _mistakes(lines, rules)]
    if path not in rules.generated:
        found += [
            Finding(path, line.number, f"{line.width} columns; prose wraps at {rules.max_columns}")
            for line in lines
            if line.width > rules.max_columns
        ]
    return sorted(found, key=lambda finding: finding.line)


def _mistakes(lines: Iterable[Line], rules: Rules) -> Iterator[tuple[int, str]]:
    """Messages about sentences, with the number of the line where their paragraph begins."""
    for number, paragraph in _paragraphs(lines):
        for sentence in _SENTENCE_END.split(_LINK.sub(r"\1", _CODE.sub("`code`", paragraph))):
            words = len(_WORD.findall(sentence))
            if words > rules.max_words:
                yield number, f"a sentence of {words} words: {_quoted(sentence)}"
            for rule in rules.rules:
                if match := rule.found.search(sentence.strip(_MARKS)):
                    yield number, f"{_quoted(match[0])}: write {rule.instead}"


def _paragraphs(lines: Iterable[Line]) -> Iterator[tuple[int, str]]:
    first, parts = 0, list[str]()
    for line in lines:
        if parts and (line.apart or not line.text):
            yield first, " ".join(parts)
            parts = []
        if line.text:
            first = first if parts else line.number
            parts.append(line.text)
    if parts:
        yield first, " ".join(parts)


def _quoted(sentence: str) -> str:
    words = sentence.split()
    return f"“{' '.join(words[:9])}{' …' if len(words) > 9 else ''}”"


def _prose(number: int, text: str, width: int) -> Line:
    """A line of a document, a docstring or a comment, which may begin a list item."""
    item = _LIST_ITEM.match(text)
    return Line(number, text[item.end() if item else 0 :].strip(), width, apart=item is not None)


def _markdown(text: str) -> Iterator[Line]:
    fenced = indented = False
    before = ""
    for number, line in enumerate(text.splitlines(), 1):
        # After an empty line, four spaces begin a block of code. Otherwise they go on with a list
        # item.
        indented = line.startswith("    ") and not _LIST_ITEM.match(line) and (indented or not before)
        before = line.strip()
        if _FENCE.match(line):
            fenced = not fenced
            yield Line(number, "")
        elif fenced or indented:
            yield Line(number, "")
        elif apart := _TABLE_ROW.match(line) or _HEADING.match(line):
            for cell in _CELL_END.split(line[apart.end() :]):
                yield Line(number, cell.strip(), apart=True)
            yield Line(number, "")
        else:
            yield _prose(number, line, len(_ADDRESS.sub("", line)))


def _python(text: str) -> Iterator[Line]:
    yield from _python_comments(text)
    lines = text.splitlines()
    for node in ast.walk(ast.parse(text)):
        match getattr(node, "body", None):
            case [ast.Expr(value=ast.Constant(value=str())) as docstring, *_]:
                yield Line(docstring.lineno, "")
                for number in range(docstring.lineno, (docstring.end_lineno or docstring.lineno) + 1):
                    line = lines[number - 1]
                    yield _prose(number, _QUOTES.sub("", line), len(line))


def _python_comments(text: str) -> Iterator[Line]:
    """A comment that follows another on the next line continues it, unless it stands after code."""
    last = 0
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT and not _DIRECTIVE.match(token.string):
            number = token.start[0]
            alone = not token.line[: token.start[1]].strip()
            if number != last + 1 or not alone:
                yield Line(number, "")
            yield _prose(number, token.string.lstrip("#:"), token.end[1] if alone else 0)
            last = number if alone else 0


def _sql(text: str) -> Iterator[Line]:
    """Comments that have a line of their own."""
    for number, line in enumerate(text.splitlines(), 1):
        comment = line.strip()
        if comment.startswith("--") and not _DIRECTIVE.match(comment):
            yield _prose(number, comment.lstrip("-"), len(line))
        else:
            yield Line(number, "")


_READERS: dict[str, Callable[[str], Iterator[Line]]] = {".md": _markdown, ".py": _python, ".sql": _sql}


def main() -> None:
    rules = load_rules()
    files = [Path(name).resolve() for name in sys.argv[1:]] or list(checked_files(rules))
    found = [
        str(finding)
        for file in files
        for finding in check(file.read_text(encoding="utf-8"), str(file.relative_to(ROOT)), rules)
    ]
    if found:
        sys.exit("\n".join(found))


if __name__ == "__main__":
    main()
