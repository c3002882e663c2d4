"""The files and settings of the containers: each command exists, and asks about the program that
runs there. No Docker engine is needed."""

import json
import re
from typing import Any

import pytest
from ruamel.yaml import YAML

from service.cli.commands import app, healthcheck, migrate, relay, serve
from tests.support.paths import ROOT

COMPOSE: dict[str, Any] = YAML(typ="safe").load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def _command(arguments: list[str]) -> tuple[Any, dict[str, Any]]:
    """The function that the command line would call, with its arguments."""
    command, bound, _ = app.parse_args(arguments)
    return command, dict(bound.arguments)


@pytest.mark.parametrize(
    ("name", "function", "asks"),
    [("migrate", migrate, None), ("service", serve, {}), ("relay", relay, {"relay": True})],
)
def test_each_service_runs_its_command_and_asks_about_itself(
    name: str, function: object, asks: dict[str, bool] | None
) -> None:
    assert _command(SERVICES[name]["command"])[0] is function
    check = SERVICES[name]["healthcheck"]
    if asks is None:
        assert check == {"disable": True}
        return
    program, *arguments = check["test"][1:]
    assert program == "jossiedb"
    assert _command(arguments) == (healthcheck, asks)


def test_the_migration_runs_once_and_before_all_else() -> None:
    assert SERVICES["migrate"]["restart"] == "no"
    assert SERVICES["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    for name in ("service", "relay"):
        assert SERVICES[name]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
    assert SERVICES["relay"]["deploy"]["replicas"] == 2


def test_postgresql_keeps_its_data_in_a_volume() -> None:
    assert SERVICES["postgres"]["image"] == "postgres:18"
    assert SERVICES["postgres"]["volumes"] == ["postgres:/var/lib/postgresql"]
    assert "pg_isready" in SERVICES["postgres"]["healthcheck"]["test"][1]


def test_the_image_runs_the_api_as_an_ordinary_user() -> None:
    final = DOCKERFILE[DOCKERFILE.rindex("\nFROM ") :]
    (user,) = re.findall(r"^USER (\S+)$", final, re.MULTILINE)
    assert (
        f"useradd --system --uid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin {user}"
        in final
    )
    assert re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE) == ["python:3.13-slim"] * 2
    (entry,) = re.findall(r"^ENTRYPOINT (.+)$", final, re.MULTILINE)
    (command,) = re.findall(r"^CMD (.+)$", final, re.MULTILINE)
    (check,) = re.findall(r"^HEALTHCHECK .*?CMD (\[.+\])$", final, re.MULTILINE)
    assert json.loads(entry) == ["jossiedb"]
    assert _command(json.loads(command)) == (serve, {"host": "0.0.0.0"})
    assert _command(json.loads(check)[1:]) == (healthcheck, {})
