"""The links in documents lead somewhere, and the files, settings and commands that they name
exist."""

import re
from pathlib import Path

import pytest

from tests.support.paths import ROOT

DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "examples").rglob("*.md")),
]
FOLDERS = "bench|docs|examples|relay|service|sql|tests|tools"
_FENCED = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)


def _text(file: Path) -> str:
    return _FENCED.sub("", file.read_text(encoding="utf-8"))


def _anchors(file: Path) -> set[str]:
    """The anchors that the usual viewers make of headings."""
    headings = re.findall(r"^#+ (.+)$", _text(file), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("file", DOCUMENTS, ids=lambda file: str(file.relative_to(ROOT)))
def test_every_link_leads_somewhere(file: Path) -> None:
    lost = []
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", _text(file)):
        path, _, anchor = target.partition("#")
        found = (file.parent / path).resolve() if path else file
        if not found.exists() or (anchor and anchor not in _anchors(found)):
            lost.append(target)
    assert lost == []


@pytest.mark.parametrize(
    "file", [file for file in DOCUMENTS if file.parent.name != "adr"], ids=lambda file: str(file.relative_to(ROOT))
)
def test_every_path_that_is_named_is_there(file: Path) -> None:
    """A page in adr/ may name files that existed when it was written."""
    paths = re.findall(rf"`((?:{FOLDERS})/[\w./*-]*)`", _text(file))
    assert [path for path in paths if not any(ROOT.glob(path))] == []


def test_every_document_is_reached_from_the_readme() -> None:
    seen: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        file = waiting.pop()
        if file.suffix == ".md" and file not in seen:
            seen.add(file)
            targets = re.findall(r"\]\((?!https?:)([^)\s#]+)", _text(file))
            waiting += [found for target in targets if (found := (file.parent / target).resolve()).is_file()]
    unreached = [str(file.relative_to(ROOT)) for file in DOCUMENTS if file not in seen and file.parent.name != "adr"]
    assert unreached == []


def test_the_guide_to_sessions_names_each_reason_for_which_one_ends() -> None:
    schema = (ROOT / "sql" / "schema.sql").read_text(encoding="utf-8")
    (allowed,) = re.findall(r"end_reason = any \(array\[(.*?)\]\)", schema, re.IGNORECASE)
    guide = (ROOT / "docs" / "SESSION_HANDLING.md").read_text(encoding="utf-8")
    section = guide[guide.index("\n## What ends a session\n") : guide.index("\n## Passwords\n")]
    named = re.findall(r"^\| `([a-z-]+)` \|", section, re.MULTILINE)
    assert sorted(named) == sorted(re.findall(r"'([a-z-]+)'", allowed))
