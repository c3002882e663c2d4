"""The table of routes in docs/REFERENCE.md."""

from collections.abc import Sequence
from itertools import groupby

from service.api.routes import PREFIX, Route
from service.documents.openapi import check, tag, who

_HEADER = f"""# Routes

`make documents` makes this page from the table of routes. Paths are below `{PREFIX}`. The
column *who* shows who may call a route. A route may also refuse a call because of the object that
it concerns. `/docs` of a running API shows each route completely, with fields, answers and
problems, and so does [openapi.json](openapi.json). [asyncapi.json](asyncapi.json) describes the
requests that receivers get.
"""


def document(routes: Sequence[Route]) -> str:
    """The Markdown. Raises Undocumented."""
    check(routes)
    parts = [_HEADER]
    for name, group in groupby(sorted(routes, key=tag), key=tag):
        rows = (f"| `{entry.method} {entry.path}` | {who(entry)} | {entry.summary} |" for entry in group)
        parts.append("\n".join([f"## {name}\n", "| route | who | what |", "|---|---|---|", *rows, ""]))
    return "\n".join(parts)
