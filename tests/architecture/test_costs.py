"""service/api/costs.py states the cost of each route, and every count is bounded."""

import re

from service.api.costs import COSTS
from service.server.app import ROUTES
from tests.support.paths import ROOT

QUERIES = ROOT / "sql" / "queries"


def test_every_route_says_what_it_costs() -> None:
    routes = {f"{route.method} {route.path}" for route in ROUTES}
    assert routes - COSTS.keys() == set(), "service/api/costs.py does not say what these cost"
    assert COSTS.keys() - routes == set(), "service/api/costs.py names routes that are no more"


def test_every_count_of_a_list_is_bounded() -> None:
    counts = {
        f"{path.stem}.{name}": body
        for path in QUERIES.glob("*.sql")
        for name, body in re.findall(
            r"^-- name: (count_\w+)\n(.*?)(?=^-- name: |\Z)", path.read_text(), re.DOTALL | re.MULTILINE
        )
    }
    assert len(counts) > 10
    assert [name for name, body in counts.items() if "limit :most" not in body] == []
