"""The blocks of code in README.md and docs/."""

import re
from dataclasses import dataclass
from pathlib import Path

from tests.support.paths import ROOT


@dataclass(frozen=True)
class Block:
    file: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.language}"


def fenced(file: Path) -> list[Block]:
    """Fenced blocks. A fence without a language has an empty language."""
    found: list[Block] = []
    lines: list[str] = []
    opened: tuple[int, str] | None = None
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        fence = re.match(r" *```(\S*)", line)
        if opened is None and fence:
            opened, lines = (number, fence[1]), []
        elif opened is not None and fence:
            found.append(Block(str(file.relative_to(ROOT)), opened[0], opened[1], "\n".join(lines)))
            opened = None
        elif opened is not None:
            lines.append(line)
    assert opened is None, f"{file}: the fence of line {opened} is not closed"
    return found


def indented(file: Path) -> list[Block]:
    """Lines of indented blocks that are commands, one block each."""
    return [
        Block(str(file.relative_to(ROOT)), number, "command", line.strip())
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
        if re.match(r" {4}(jossiedb|make|curl|docker|pip|python) ", line)
    ]


FILES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCKS = [block for file in FILES for block in [*fenced(file), *indented(file)]]
