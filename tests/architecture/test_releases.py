"""Which commit the tests of upgrades take for the release before this version."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from tests.support import releases
from tests.support.programs import SkipUnless
from tests.support.releases import release_before

Git: TypeAlias = Callable[..., str]


@pytest.fixture
def git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, skip_unless: SkipUnless) -> Git:
    """git in a new repository, which takes the place of this one."""
    program = skip_unless("git")
    root = tmp_path / "repository"
    root.mkdir()
    monkeypatch.setattr(releases, "ROOT", root)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "A Person")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "person@example.org")

    def run(*arguments: str) -> str:
        return subprocess.run(
            [program, *arguments], cwd=root, capture_output=True, text=True, check=True
        ).stdout.strip()

    run("init", "--quiet")
    return run


def commit(git: Git, subject: str) -> str:
    """The new commit."""
    git("commit", "--quiet", "--allow-empty", "-m", subject)
    return git("rev-parse", "HEAD")


def test_it_is_head_until_there_is_a_release(git: Git) -> None:
    for subject in ("docs: begin", "docs: Release 0.1.0 is near", "Release 0.1.0"):
        head = commit(git, subject)
        assert release_before() == head


def test_it_is_the_newest_release_before_head(git: Git) -> None:
    first = commit(git, "Release 0.1.0")
    commit(git, "docs: go on")
    assert release_before() == first
    second = commit(git, "Release 0.10.0")
    assert release_before() == first
    commit(git, "docs: go on")
    assert release_before() == second


def test_a_shallow_clone_has_the_releases_that_it_reaches(
    git: Git, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = commit(git, "Release 0.1.0")
    for number in range(3):
        commit(git, f"docs: go on {number}")
    head = git("rev-parse", "HEAD")
    for depth, found in ((1, head), (4, release)):
        clone = tmp_path / str(depth)
        git("clone", "--quiet", "--depth", str(depth), f"file://{git('rev-parse', '--show-toplevel')}", str(clone))
        with monkeypatch.context() as patch:
            patch.setattr(releases, "ROOT", clone)
            assert release_before() == found


def test_without_the_history_the_test_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(releases, "ROOT", tmp_path)
    with pytest.raises(pytest.skip.Exception, match="no git checkout"):
        release_before()
