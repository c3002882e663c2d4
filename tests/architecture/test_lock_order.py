"""A statement that changes several rows first locks them in an order or skips locked rows.
Otherwise EXCEPT gives the reason why it cannot deadlock."""

import re

import pytest
import sqlglot
from sqlglot import expressions

from service.platform.queries import load
from tests.support.paths import ROOT

QUERIES = sorted(path.stem for path in (ROOT / "sql" / "queries").glob("*.sql"))

# Statements that change several rows without locking them in an order, and why they cannot
# deadlock.
EXCEPT = {
    "fanout.take_lane_wakes": "whole rows that only the leader takes away",
    "record.record": "rows whose fence is this relay's, which nobody else changes but by stepping over; counts go by their key",
    "order.block": "items are locked by lock before",
    "order.skip": "items are locked by lock before, or by what gives them",
    "order.promote": "items are locked by lock before; a delivery follows its item",
    "settle.save": "lanes are locked by lock before",
    "epoch.recognise": "one row",
    "presence.beat": "one row, the relay's own",
    "leases.give_back": "rows whose fence is this relay's",
    "locations.add_foremen": "one location, whose lock comes before its foremen",
    "replay.cancel": "one row",
    "replay.end_job": "one row",
    "replay.advance": "the job's and the webhook's row are locked before, for everybody who puts deliveries back",
    "webhooks.put_back": "the webhook's row is locked before, for everybody who puts deliveries back",
    "users.unassign": "locations are locked by lock_assigned_locations before, and so is the user",
}


def _parse(sql: str) -> sqlglot.Expr | None:
    """None if sqlglot does not know the syntax."""
    try:
        return sqlglot.parse_one(sql, read="postgres")
    except sqlglot.ParseError:
        return None


def _changes_several(sql: str) -> bool:
    if (tree := _parse(sql)) is None:
        return re.search(r"\b(update|delete)\b", sql) is not None
    for node in tree.find_all(expressions.Update, expressions.Delete):
        if node.args.get("from_") or node.args.get("from") or node.args.get("using"):
            return True
        where = node.args.get("where")
        if where is None or where.find(expressions.In, expressions.Any, expressions.Between):
            return True
    return False


def _locks_in_order(sql: str) -> bool:
    """Whether some part of the statement locks rows in an order, or skips locked rows."""
    if (tree := _parse(sql)) is None:
        return re.search(r"order by [^()]*\sfor (no key )?update|skip locked", sql) is not None
    for select in tree.find_all(expressions.Select):
        for lock in select.args.get("locks") or ():
            if lock.args.get("wait") is False or select.args.get("order"):
                return True
    return False


@pytest.mark.parametrize("feature", QUERIES)
def test_rows_are_locked_in_an_order(feature: str) -> None:
    loose = {
        statement.name
        for statement in load(feature)
        if _changes_several(statement.sql) and not _locks_in_order(statement.sql)
    }
    assert loose == {name for name in EXCEPT if name.startswith(f"{feature}.")}


@pytest.mark.parametrize("feature", QUERIES)
def test_several_rows_that_are_locked_have_an_order(feature: str) -> None:
    """Whether a `select … for update` locks more than one row and may wait for them."""
    loose = set()
    for statement in load(feature):
        if (tree := _parse(statement.sql)) is None:
            continue
        for select in tree.find_all(expressions.Select):
            for lock in select.args.get("locks") or ():
                where = select.args.get("where")
                several = where is not None and where.find(expressions.In, expressions.Any, expressions.Or)
                if several and lock.args.get("wait") is not False and not select.args.get("order"):
                    loose.add(statement.name)
    assert not loose


@pytest.mark.parametrize(
    ("sql", "loose"),
    [
        ("update t set a = 1 from u where t.id = u.id", True),
        ("delete from t where id = any ($1::int[])", True),
        ("update t set a = 1 where id = $1", False),
        (
            "with l as (select id from t where id = any ($1::int[]) order by id for update) update t set a = 1 from l",
            False,
        ),
        ("delete from t where id in (select id from t limit 5 for update skip locked)", False),
        ("update t set a = 1 from unnest($1::int[]) as r (id) join u on u.id = r.id where t.id = r.id", True),
    ],
)
def test_the_search_tells_orders_apart(sql: str, *, loose: bool) -> None:
    assert (_changes_several(sql) and not _locks_in_order(sql)) is loose
