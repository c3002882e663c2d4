"""Facts about the files of the repository: their length, the locks, the package, the hooks."""

import ast
import hashlib
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from service.platform.settings import Settings
from tests.support.paths import ROOT

PROGRAMS = Path(sys.executable).parent
FOLDERS = ("bench", "examples", "relay", "service", "tests", "tools")
LOCKS = [*sorted(ROOT.glob("requirements*.lock")), ROOT / "tests" / "clients" / "requirements.lock"]


def _run(*command: str | Path, cwd: Path = ROOT) -> None:
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _default(name: str) -> str:
    """The default of a setting as docs/SETTINGS.md writes it."""
    value = Settings.model_fields[name].default
    if value is None or value == ():
        return "unset"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if hasattr(value, "total_seconds"):
        hours = int(value.total_seconds()) // 3600
        return f"`{hours // 24}d`" if hours > 24 else f"`{hours}h`"
    return f"`{value}`"


def test_the_documents_name_every_setting_with_its_default_and_no_other() -> None:
    rows = re.findall(r"^\| `([A-Z_]+)` \| (.+?) \| .+ \|$", (ROOT / "docs" / "SETTINGS.md").read_text(), re.MULTILINE)
    assert dict(rows) == {name.upper(): _default(name) for name in Settings.model_fields}
    assert len(rows) == len(dict(rows))


def test_imports_point_one_way() -> None:
    _run(PROGRAMS / "lint-imports", "--no-cache")


def test_pre_commit_runs_the_tools_of_make_check() -> None:
    (recipe,) = re.findall(r"^check: .*\n((?:\t.+\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    tools = [line.replace("$(BIN)", ".venv/bin").strip() for line in recipe.splitlines()]
    hooks = re.findall(r"^ +entry: (.+)$", (ROOT / ".pre-commit-config.yaml").read_text(), re.MULTILINE)
    # pre-commit puts the names of changed files in the place of the dot.
    assert [hook.replace("--force-exclude", ".") for hook in hooks] == tools


def test_the_compose_file_fits_the_published_schema() -> None:
    _run(PROGRAMS / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", "docker-compose.yml")


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: str(path.relative_to(ROOT)))
def test_locks_have_hashes_and_no_address(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"://|index-url|find-links|trusted-host", text)
    pins = re.findall(r"^([a-z0-9][a-z0-9._-]*)==\S+.*((?:\n    --hash=sha256:[0-9a-f]{64}.*)*)", text, re.MULTILINE)
    assert pins
    assert not [name for name, hashes in pins if not hashes]
    assert len(re.findall(r"^[a-z0-9]", text, re.MULTILINE)) == len(pins)


def test_locks_agree_on_every_version() -> None:
    versions: dict[str, set[str]] = {}
    for path in LOCKS:
        for name, version in re.findall(r"^([a-z0-9][a-z0-9._-]*)==(\S+)", path.read_text(), re.MULTILINE):
            versions.setdefault(name, set()).add(version)
    assert not {name: found for name, found in versions.items() if len(found) > 1}


def test_no_python_file_is_too_long_to_read() -> None:
    lengths = {
        path.relative_to(ROOT): len(path.read_text().splitlines())
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*.py")
    }
    assert lengths
    assert not {str(path): length for path, length in lengths.items() if length > 350}


def test_no_function_of_the_relay_is_too_long_to_read() -> None:
    lengths = {
        f"{path.relative_to(ROOT)}:{node.name}": (node.end_lineno or 0) - node.lineno + 1
        for path in (ROOT / "relay").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert lengths
    assert not {name: length for name, length in lengths.items() if length > 60}


def test_vendored_files_are_listed_with_version_and_licence_and_are_as_published() -> None:
    """Each folder named vendor has a VENDORED.md with a row for each file: name, version, licence,
    SHA-256."""
    folders = [path for top in FOLDERS for path in (ROOT / top).rglob("vendor") if path.is_dir()]
    assert folders
    for folder in folders:
        rows = re.findall(
            r"^\| `([^`]+)` \| [^|]*\d[^|]* \| [^|]*\w[^|]* \| ([0-9a-f]{64}) \|$",
            (folder / "VENDORED.md").read_text(),
            re.MULTILINE,
        )
        files = [path for path in folder.rglob("*") if path.is_file() and path.name != "VENDORED.md"]
        assert dict(rows) == {
            str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
        }
        assert {path.parent for path in files} == {path.parent for path in files if path.name == "LICENSE"}


def test_a_wheel_has_the_code_every_sql_file_and_what_the_pages_need(tmp_path: Path) -> None:
    source, wheels = tmp_path / "source", tmp_path / "wheels"
    for name in ("service", "relay", "sql"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    _run(
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "-w",
        wheels,
        source,
    )
    (wheel,) = wheels.iterdir()
    packed = set(zipfile.ZipFile(wheel).namelist())
    wanted = {str(path.relative_to(ROOT)) for name in ("service", "relay") for path in (ROOT / name).rglob("*.py")}
    wanted |= {str(path.relative_to(ROOT)) for path in (ROOT / "sql").rglob("*.sql")}
    wanted |= {str(path.relative_to(ROOT)) for path in (ROOT / "service" / "web").rglob("*") if path.is_file()}
    assert wanted - packed == set()
    assert not [name for name in packed if name.startswith(("tests/", "tools/", "bench/"))]
