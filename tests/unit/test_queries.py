import pytest

from service.platform.queries import Statement, Statements, load


@pytest.mark.parametrize(
    ("text", "sql", "parameters"),
    [
        ("select :a, :b, :a", "select $1, $2, $1", ("a", "b")),
        ("select :a::int", "select $1::int", ("a",)),
        ("select a::text", "select a::text", ()),
        ("select ':a', 'it''s :b', :c", "select ':a', 'it''s :b', $1", ("c",)),
        ("select 1 -- at 12:30 :a it's\n, :b", "select 1 -- at 12:30 :a it's\n, $1", ("b",)),
        ("select x[1:2], :long_name2", "select x[1:2], $1", ("long_name2",)),
        ("select (:a)", "select ($1)", ("a",)),
        ("select a=:a", "select a=$1", ("a",)),
    ],
)
def test_numbers_parameters_and_nothing_else(text: str, sql: str, parameters: tuple[str, ...]) -> None:
    statement = Statement("test.name", text)
    assert (statement.sql, statement.parameters) == (sql, parameters)


def test_puts_values_in_the_statements_order() -> None:
    assert Statement("test.name", "select :b, :a").arguments({"a": 1, "b": 2}) == [2, 1]


@pytest.mark.parametrize("values", [{}, {"a": 1}, {"a": 1, "c": 2}, {"a": 1, "b": 2, "c": 3}])
def test_refuses_a_wrong_set_of_parameters(values: dict[str, int]) -> None:
    with pytest.raises(TypeError, match=r"test\.name"):
        Statement("test.name", "select :a, :b").arguments(values)


def test_finds_statements_by_name() -> None:
    statements = Statements("test", "-- A remark.\n\n-- name: one\nselect 1;\n\n-- name: two\n-- Why.\nselect :a;\n")
    assert [statement.name for statement in statements] == ["test.one", "test.two"]
    assert statements.two.sql == "-- Why.\nselect $1;"
    with pytest.raises(AttributeError, match="no statement named three"):
        _ = statements.three


def test_refuses_a_name_given_twice() -> None:
    with pytest.raises(ValueError, match="twice"):
        Statements("test", "-- name: one\nselect 1\n-- name: one\nselect 2\n")


def test_reads_a_feature_once() -> None:
    assert load("migrate") is load("migrate")
