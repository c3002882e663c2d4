"""The remains of a start that was cut off, in an embedded server's directory."""

import threading
import time
from pathlib import Path

import pytest

from service.platform.embedded import cluster
from service.platform.errors import StartupError


def test_a_draft_that_is_still_being_filled_is_removed_once_that_has_ended(tmp_path: Path) -> None:
    draft = tmp_path / "postgres.init.x"
    draft.mkdir()
    until = time.monotonic() + 0.3

    def fill() -> None:
        number = 0
        while time.monotonic() < until:
            try:
                (draft / f"{number}").touch()
            except FileNotFoundError:
                return
            number += 1

    filling = threading.Thread(target=fill)
    filling.start()
    cluster._remove(draft)
    filling.join()
    cluster._remove(draft)
    assert not draft.exists()


def test_a_draft_that_cannot_be_removed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draft = tmp_path / "postgres.init.x"
    draft.write_text("no directory")
    monkeypatch.setattr(cluster, "REMOVE_SECONDS", 0.0)
    with pytest.raises(StartupError, match="cannot be removed"):
        cluster._remove(draft)
