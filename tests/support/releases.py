"""The release before this version, and folders from which one version's programs run.

A commit with the subject "Release 1.2.3" is a release. It is found in the history, so no tags are
needed.
"""

import io
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.paths import ROOT

_SUBJECT = re.compile(r"Release [0-9]+\.[0-9]+\.[0-9]+")
# The packages that a release's programs need. pyproject.toml says its version.
_PACKAGES = ("relay", "service", "sql")
# Python looks for packages in the folder of the script first. So the programs run this folder's
# code, whatever is installed. The first line of their log says where that code is.
_SCRIPT = "run.py"
_SCRIPT_TEXT = """\
import json
import runpy
import sys

import relay
import service
import sql

files = [package.__file__ for package in (relay, service, sql)]
print(json.dumps({"event": "code", "level": "info", "files": files}), file=sys.stderr, flush=True)
del sys.argv[0]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


@dataclass(frozen=True)
class Tree:
    """A folder with the packages `relay`, `service` and `sql` of one version."""

    root: Path

    def command(self, program: str, *arguments: str) -> tuple[str, ...]:
        """The command that runs `relay` or `service` with this folder's code."""
        return (sys.executable, str(self.root / _SCRIPT), program, *arguments)

    def ran(self, log: Sequence[Mapping[str, object]]) -> bool:
        """Whether the process with these lines of log runs this folder's code."""
        return log[0]["event"] == "code" and log[0]["files"] == [
            str(self.root / package / "__init__.py") for package in _PACKAGES
        ]


def release_before() -> str:
    """The commit of the newest release before HEAD. HEAD itself while there is none, and in a
    shallow clone that does not reach back to one.

    Skips the test in a source archive, which has no history.
    """
    # An archive may have been unpacked inside another repository.
    if not (ROOT / ".git").exists():
        pytest.skip("this is no git checkout, so the release before this version is not known")
    head, *history = (line.split(" ", 1) for line in _git("log", "--format=%H %s").decode().splitlines())
    for commit, subject in history:
        if _SUBJECT.fullmatch(subject):
            return commit
    return head[0]


def extract(commit: str, folder: Path) -> Tree:
    """The code of that commit, in a new folder."""
    archive = _git("archive", "--format=tar", commit, *_PACKAGES, "pyproject.toml")
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(folder, filter="data")
    return _tree(folder)


def newer_version(folder: Path, migration: str, function: str | None = None) -> Tree:
    """This checkout's code in a new folder, with one migration more.

    `function` names a function whose text is another one, too, so that `migrate` replaces it.
    """
    folder.mkdir()
    for package in ("relay", "service"):
        (folder / package).symlink_to(ROOT / package)
    shutil.copytree(ROOT / "sql", folder / "sql")
    migrations = folder / "sql" / "migrations"
    number = max(int(path.name[:4]) for path in migrations.glob("*.sql")) + 1
    (migrations / f"{number:04}_change_for_a_test.sql").write_text(migration, encoding="utf-8")
    if function is not None:
        path = folder / "sql" / "functions" / f"{function}.sql"
        path.write_text(f"-- Changed for a test.\n{path.read_text(encoding='utf-8')}", encoding="utf-8")
    return _tree(folder)


def _tree(folder: Path) -> Tree:
    (folder / _SCRIPT).write_text(_SCRIPT_TEXT, encoding="utf-8")
    return Tree(folder)


def _git(*arguments: str) -> bytes:
    """The output of git. Skips the test if git cannot say."""
    try:
        done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("git is not installed, so the release before this version is not known")
    if done.returncode:
        pytest.skip(f"git cannot read the history: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout
