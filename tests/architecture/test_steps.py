"""For every step in which a relay works on rows, tests/support/relay/steps.py names a test with a
bad row, or a reason."""

import importlib
import inspect

import pytest

from service.platform.queries import Statements, load
from tests.support.relay.steps import FUNCTIONS, OTHER_FUNCTIONS, STATEMENTS, WHOLE

# The modules that work on rows.
MODULES = (
    "send.target",
    "send.delivery",
    "record.record",
    "record.settle",
    "send.tester",
    "lead.fanout",
    "lead.replay",
    "lead.retention",
    "claim.claim",
    "record.give_up",
    "record.order",
)
# Functions that get an error or the server's state, and no row.
_TOOLS = {"is_of_a_row", "is_passing", "is_away", "lacks_partition", "get_logger", "load", "one_line", "canonical"}


def _statements() -> set[str]:
    """The statements that the relay uses: `feature.name`."""
    used = set()
    for name in (
        *MODULES,
        "lead.listen",
        "lead.doorbell",
        "lead.partitions",
        "claim.dispatch",
        "claim.claimer",
        "claim.leases",
        "claim.sweep",
        "claim.alone",
        "watch.peers",
        "watch.presence",
        "watch.database",
    ):
        module = importlib.import_module(f"relay.{name}")
        source = inspect.getsource(module)
        for variable, statements in vars(module).items():
            if isinstance(statements, Statements):
                used |= {
                    statement.name
                    for statement in statements
                    if f"{variable}.{statement.name.partition('.')[2]}" in source.replace("\n", " ")
                }
    return used


def test_every_statement_of_the_relay_has_a_scenario_or_a_reason() -> None:
    known = {name for names in STATEMENTS.values() for name in names} | set(WHOLE)
    assert {"missing": _statements() - known, "unknown": known - _statements()} == {
        "missing": set(),
        "unknown": set(),
    }
    assert not {name for names in STATEMENTS.values() for name in names} & set(WHOLE)


@pytest.mark.parametrize("name", MODULES)
def test_every_function_that_is_given_a_row_has_a_scenario_or_a_reason(name: str) -> None:
    known = {step for steps in FUNCTIONS.values() for step in steps} | set(OTHER_FUNCTIONS)
    module = importlib.import_module(f"relay.{name}")
    found = {
        f"relay.{name}:{attribute}"
        for attribute, value in vars(module).items()
        if inspect.isfunction(value)
        and value.__module__ != module.__name__
        and value.__module__.startswith(("relay.", "service."))
        and attribute not in _TOOLS
    }
    assert not found - known


def test_every_notice_has_a_scenario_or_a_reason() -> None:
    known = {step for steps in FUNCTIONS.values() for step in steps} | set(OTHER_FUNCTIONS)
    notices = importlib.import_module("relay.record.notices")
    made = {
        f"relay.record.settle:notices.{name}"
        for name, value in vars(notices).items()
        if inspect.isfunction(value) and value.__module__ == notices.__name__ and not name.startswith("_")
    }
    assert not made - known


def test_the_search_finds_statements() -> None:
    assert {"record.record", "claim.claim", "settle.save", "order.promote"} <= _statements()
    assert {statement.name for statement in load("settle")} <= _statements()
