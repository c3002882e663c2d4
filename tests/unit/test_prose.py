"""The check of prose finds what tools/prose.toml rules out, in each kind of file, and nothing in
code."""

import re
from pathlib import Path

import pytest

from tools.check_prose import ROOT, Rules, check, checked_files, load_rules

LONG = " ".join(["word"] * 41) + "."


@pytest.fixture(scope="module")
def rules() -> Rules:
    return load_rules()


@pytest.mark.parametrize(
    "sentence",
    [
        "What an event is about, who wrote it has said beside it.",
        "Of rows that psql wrote the leader finds it out first, and sees to their being valid.",
        "Who is elected looks at every lane once.",
        "A part that has done its work again may have done it before, unheard.",
        "The doorbell's lock is held, and to be let go of.",
        "Whatever was leased by a statement on an earlier connection, that has ended by now.",
        "Those that time has heated.",
        "The lane is due; of what is due there later nobody knows.",
        "None is dropped while the process lives; of one that the database refuses, its body is.",
        "What is there by now stays.",
        "The leader looks. Who waits, is woken by it.",
        "The peers are told.",
        "The leader has given way to a peer.",
        LONG,
    ],
)
def test_a_mannered_sentence_is_found(rules: Rules, sentence: str) -> None:
    for path, text in (
        ("a.md", sentence),
        ("a.md", f"- {sentence}\n"),
        ("a.md", f"| it | {sentence} |\n"),
        ("a.py", f'"""{sentence}"""\n'),
        ("a.py", f"x = 1  # {sentence}\n"),
        ("a.sql", f"-- {sentence}\nselect 1;\n"),
    ):
        found = check(text, path, rules)
        assert [finding for finding in found if "columns" not in finding.message], path


@pytest.mark.parametrize(
    "text",
    [
        "The writer stores each event's subject next to it. For rows inserted by psql, the leader derives it.",
        "Leases that a statement on the previous connection may have taken. That statement has ended.",
        "Lanes woken by a timer. We do not know what else is due in them.",
        "If the database refuses one, only its attachments are dropped: headers, body.",
        "## What an event is about\n",
        "Who may read it? Admins may.",
        "| who | what |\n",
        "The column `untold` is gone.",
        f"    {LONG}\n",
        f"```text\n{LONG}\nunheard\n```\n",
        LONG.replace(" ", ".\nWord "),
        f"{'x' * 60} [a link](https://example.org/{'x' * 60})\n",
        f"# A heading of {'x' * 100}\n",
    ],
)
def test_plain_sentences_and_code_pass(rules: Rules, text: str) -> None:
    assert check(text, "a.md", rules) == []


def test_a_sentence_is_read_across_lines_and_reported_where_its_passage_begins(rules: Rules) -> None:
    text = "# A title\n\nThe first paragraph.\n\nThe leader\nlets\ngo of the lock.\n"
    assert [(finding.line, finding.path) for finding in check(text, "a.md", rules)] == [(5, "a.md")]


def test_comments_that_follow_each_other_are_one_passage(rules: Rules) -> None:
    python = "x = 1\n# The leader lets\n# go of the lock.\ny = 2\n"
    sql = "select 1;\n-- The leader lets\n-- go of the lock.\nselect 2;\n"
    for path, text in (("a.py", python), ("a.sql", sql)):
        assert [finding.line for finding in check(text, path, rules)] == [2], path


def test_code_and_comments_for_tools_are_not_prose(rules: Rules) -> None:
    python = f'untold = "Who is told"  # noqa: S101\n"{LONG}"\n# ruff: noqa {"x" * 100}\n'
    sql = f"-- name: unheard\nselect 'told', '{LONG}';\n"
    for path, text in (("a.py", python), ("a.sql", sql)):
        assert check(text, path, rules) == [], path


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("a.md", "word " * 25),
        ("a.py", f"# {'word ' * 25}"),
        ("a.py", f'"""One.\n\n{"word " * 25}"""'),
        ("a.sql", f"-- {'word ' * 25}"),
    ],
)
def test_a_wide_line_is_found(rules: Rules, path: str, text: str) -> None:
    (finding,) = check(text, path, rules)
    assert "columns" in finding.message


def test_the_vocabulary_has_each_word_that_the_glossary_rules_out(rules: Rules) -> None:
    glossary = (ROOT / "docs" / "GLOSSARY.md").read_text(encoding="utf-8")
    section = glossary[glossary.index("\n## Words we do not use\n") :]
    words = re.findall(r"`([^`]+)`", " ".join(re.findall(r"^\| ([^|]+) \|", section, re.MULTILINE)))
    assert len(words) > 10
    known = {word for word in words if word in rules.by_eye or any(rule.found.search(word) for rule in rules.rules)}
    assert set(words) - known == set()
    assert rules.by_eye <= set(words)


def test_the_listed_files_are_in_plain_english(rules: Rules) -> None:
    found: list[str] = []
    for file in checked_files(rules):
        path = str(file.relative_to(ROOT))
        found += [str(finding) for finding in check(file.read_text(encoding="utf-8"), path, rules)]
    assert found == []


def test_the_listed_files_include_all_documents(rules: Rules) -> None:
    checked = set(checked_files(rules))
    assert {Path(ROOT / "README.md"), *(ROOT / "docs").rglob("*.md")} <= checked
