"""A passing error is a 503 with Retry-After, and any other a 500. Checked for every error that
asyncpg knows."""

import inspect

import asyncpg
import pytest
from asyncpg import exceptions

from service.api.problems import passing_problem
from service.platform.db import is_of_a_row, is_passing

# Classes of SQLSTATEs that pass: the connection, the server's resources, an operator or the system.
# Below are single ones, including two transactions in each other's way.
PASSING_CLASSES = {"08", "53", "57", "58"}
PASSING = {
    "25006": "read-only",
    "25P02": "the transaction has failed already",
    "25P03": "idle in a transaction for too long",
    "25P04": "the transaction took too long",
    "28000": "the login is refused at the moment",
    "28P01": "the password was changed",
    "3D000": "the database is not there at the moment",
    "40000": "rolled back",
    "40001": "serialization",
    "40003": "nobody knows whether it was committed",
    "40P01": "deadlock",
    "54000": "the queue of notifications is full",
    "55006": "somebody uses it",
    "55P03": "no lock",
    "72000": "the snapshot is too old",
}
# Errors of connections and pools that asyncpg raises by itself. TimeoutError and OSError pass, too.
CLIENT = (asyncpg.InterfaceError, asyncpg.InternalClientError)
CLASSES = sorted(
    {
        found
        for _, found in inspect.getmembers(exceptions, inspect.isclass)
        if issubclass(found, Exception) and found.__module__.startswith("asyncpg.exceptions")
    },
    key=lambda found: found.__name__,
)


def _expected(error: type[Exception]) -> bool:
    if issubclass(error, (*CLIENT, asyncpg.InvalidCachedStatementError)):
        return True
    state = getattr(error, "sqlstate", None) or ""
    return state in PASSING or state[:2] in PASSING_CLASSES


@pytest.mark.parametrize("error", CLASSES, ids=lambda error: error.__name__)
def test_what_passes_is_answered_with_when_to_come_back(error: type[Exception]) -> None:
    raised = error("said by the test")
    if isinstance(raised, asyncpg.CheckViolationError):
        # Without the name of a constraint, the error means that a partition is missing.
        raised.constraint_name = "items_quantity_check"
    answer = passing_problem(raised)
    assert (answer is not None) == _expected(error)
    if answer is not None:
        assert answer.status == 503
        assert answer.retry_after is not None
        assert answer.retry_after >= 1


@pytest.mark.parametrize("error", [TimeoutError(), ConnectionResetError(), OSError("no route"), BrokenPipeError()])
def test_a_connection_that_fails_passes(error: Exception) -> None:
    assert passing_problem(error) is not None


def test_a_partition_that_is_missing_passes() -> None:
    assert passing_problem(asyncpg.CheckViolationError("no partition")) is not None


@pytest.mark.parametrize("error", [RuntimeError(), KeyError("x"), OverflowError(), asyncpg.UndefinedTableError("x")])
def test_a_defect_does_not(error: Exception) -> None:
    assert passing_problem(error) is None


@pytest.mark.parametrize("error", CLASSES, ids=lambda error: error.__name__)
def test_no_error_is_both_passing_and_a_rows(error: type[Exception]) -> None:
    raised = error("said by the test")
    assert not (is_passing(raised) and is_of_a_row(raised))
