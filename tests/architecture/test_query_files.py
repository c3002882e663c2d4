"""A reader finds a statement by the module that runs it: a file of sql/queries is named after the
module, or after its room."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.paths import ROOT

FILES = sorted(path.stem for path in (ROOT / "sql" / "queries").glob("*.sql"))
MODULES = sorted(path for package in ("service", "relay") for path in (ROOT / package).rglob("*.py"))

# Modules that load the file of another room, and why.
EXCEPT = {
    (
        "epoch",
        "maintain",
    ): "`jossiedb restored` begins an epoch by hand, with the statement by which processes begin one",
    ("migrate", "run"): "a demo takes a lock in the same way as a migrator does",
    ("order", "order"): "the API lets an item go on with the statements by which the relay does",
    ("replay", "replay"): "the API counts what the relay then replays, stretch by stretch in the same way",
}


def _loaded(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Call(func=ast.Name(id="load"), args=[ast.Constant(value=str(name))]):
                yield name


def _room(path: Path) -> Path:
    """A feature of the service or a stage of the relay. For modules beside them, it is their
    package."""
    inside = path.relative_to(ROOT).parts
    return ROOT.joinpath(*inside[: 2 if len(inside) > 2 else 1])


def _is_named_after(name: str, room: Path) -> bool:
    """Whether a file is named after its room, after a module in it, or after several: `sessions`
    stands for session_routes and session_commands."""
    stems = [path.stem for path in (room.rglob("*.py") if room.parent != ROOT else room.glob("*.py"))]
    return room.name == name or any(stem == name or stem.startswith(f"{name.removesuffix('s')}_") for stem in stems)


_LOADED = {path: set(_loaded(path)) for path in MODULES}
LOADERS = {name: [path for path in MODULES if name in _LOADED[path]] for name in FILES}


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_named_after_the_modules_that_load_it_or_their_room(name: str) -> None:
    strangers = [
        str(path.relative_to(ROOT))
        for path in LOADERS[name]
        if not _is_named_after(name, _room(path)) and (name, path.stem) not in EXCEPT
    ]
    assert LOADERS[name]
    assert strangers == []


@pytest.mark.parametrize("name", FILES)
def test_the_modules_that_load_a_file_are_in_one_room(name: str) -> None:
    rooms = {_room(path) for path in LOADERS[name] if (name, path.stem) not in EXCEPT}
    assert len(rooms) <= 1


def test_every_exception_is_one() -> None:
    there = {(name, path.stem) for name in FILES for path in LOADERS[name]}
    assert set(EXCEPT) <= there
