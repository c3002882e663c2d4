"""The table of routes in docs/REFERENCE.md."""

from collections.abc import Sequence
from itertools import groupby

from service.api.routes import PREFIX, Route
from service.documents.openapi import check, tag, who

_HEADER = f"""# Routes

Made from the route table by `make documents`. Paths are below `{PREFIX}`. *Who* is what the table knows; a route may ask more of
the objects in question. The whole of each route (fields, answers, problems) is at `/docs` of a running API, and in
[openapi.json](openapi.json); what receivers get is in [asyncapi.json](asyncapi.json).
"""


def document(routes: Sequence[Route]) -> str:
    """The Markdown. Raises Undocumented."""
    check(routes)
    parts = [_HEADER]
    for name, group in groupby(sorted(routes, key=tag), key=tag):
        rows = (f"| `{entry.method} {entry.path}` | {who(entry)} | {entry.summary} |" for entry in group)
        parts.append("\n".join([f"## {name}\n", "| route | who | what |", "|---|---|---|", *rows, ""]))
    return "\n".join(parts)
