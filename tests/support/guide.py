"""The blocks of code in docs/WEBHOOKS_GUIDE.md."""

import re

from tests.support.paths import DOCS

GUIDE = (DOCS / "WEBHOOKS_GUIDE.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)


def block(language: str, containing: str) -> str:
    """The one block with this text."""
    (found,) = [block for block in blocks(language) if containing in block]
    return found
