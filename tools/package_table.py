"""The table of packages in docs/ARCHITECTURE.md, made from the docstrings of the packages."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROGRAMS = ("service", "relay")
# The table stands between these two lines.
BEGIN, END = "<!-- begin: packages, made by `make documents` -->\n", "<!-- end: packages -->\n"
_TABLE = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)


def with_table(text: str) -> str:
    """The document's text with the table as it is now. Raises LookupError for a document without a
    place for the table, and for a package without a docstring."""
    if not _TABLE.search(text):
        raise LookupError(f"docs/ARCHITECTURE.md lacks {BEGIN.strip()} or {END.strip()}")
    rows = [f"| `{path.relative_to(ROOT)}/` | {_contents(path)} |\n" for path in _packages()]
    table = "".join(["| package | contains |\n", "|---|---|\n", *rows])
    return _TABLE.sub(lambda _: f"{BEGIN}{table}{END}", text)


def _packages() -> list[Path]:
    return sorted(file.parent for program in PROGRAMS for file in (ROOT / program).rglob("__init__.py"))


def _contents(package: Path) -> str:
    """The first paragraph of the package's docstring, in one line and without its full stop."""
    docstring = ast.get_docstring(ast.parse((package / "__init__.py").read_text(encoding="utf-8")))
    if docstring is None:
        raise LookupError(f"{package.relative_to(ROOT)}/__init__.py has no docstring")
    paragraph, _, _ = docstring.partition("\n\n")
    return " ".join(paragraph.split()).removesuffix(".")
