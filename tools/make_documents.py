"""Writes the generated documents in docs/. `make documents` runs it."""

import json
import sys
from pathlib import Path
from typing import Any

from service.documents import asyncapi, event_examples, openapi, reference
from service.server.app import ROUTES
from tools import package_table

DOCS = Path(__file__).parents[1] / "docs"


def documents() -> dict[str, str]:
    """The text of each file, by its name in docs/. Raises openapi.Undocumented."""
    return {
        "openapi.json": _json(openapi.document(ROUTES)),
        "asyncapi.json": _json(asyncapi.document()),
        "REFERENCE.md": reference.document(ROUTES),
        "EVENTS.md": event_examples.document(),
        "ARCHITECTURE.md": package_table.with_table((DOCS / "ARCHITECTURE.md").read_text(encoding="utf-8")),
    }


def _json(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    try:
        made = documents()
    except (openapi.Undocumented, LookupError, TypeError) as error:
        sys.exit(f"the documents cannot be made: {error}")
    for name, text in made.items():
        (DOCS / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
