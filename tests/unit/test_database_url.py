"""The parameters of DATABASE_URL that are used, and those that are dropped."""

import pytest

from service.platform.database_url import CONNECT_TIMEOUT, parse
from service.platform.db import address

DROPPED = [
    "channel_binding=require",
    "gssencmode=prefer",
    "keepalives=1",
    "keepalives_idle=30",
    "keepalives_interval=10",
    "keepalives_count=3",
    "tcp_user_timeout=10000",
    "pgbouncer=true",
    "connection_limit=5",
    "schema=app",
    "statement_timeout=1",
]
KEPT = ["sslmode=require", "target_session_attrs=primary", "host=/run/a,/run/b", "port=5432,5433", "user=joss"]


def test_what_asyncpg_knows_is_kept_as_it_stands_and_the_rest_is_named() -> None:
    url = parse(f"postgresql://h1:1,h2:2/stock?{'&'.join(KEPT + DROPPED)}")
    assert url.dsn == f"postgresql://h1:1,h2:2/stock?{'&'.join(KEPT)}"
    assert url.dropped == tuple(pair.partition("=")[0] for pair in DROPPED)
    assert (url.connect_timeout, url.server_settings) == (CONNECT_TIMEOUT, {})


def test_what_holds_in_another_way_is_neither_handed_on_nor_named() -> None:
    url = parse("postgresql://h/stock?connect_timeout=3&application_name=a%20b&options=-c%20geqo%3Doff&sslmode=")
    assert url.dsn == "postgresql://h/stock"
    assert url.connect_timeout == 3
    assert url.server_settings == {"application_name": "a b", "options": "-c geqo=off"}
    assert url.dropped == ()


@pytest.mark.parametrize("value", ["0", "-1"])
def test_no_limit_on_connecting_is_no_limit(value: str) -> None:
    assert parse(f"postgresql://h/stock?connect_timeout={value}").connect_timeout > 3600


def test_a_timeout_that_is_no_number_is_named() -> None:
    with pytest.raises(ValueError, match="connect_timeout takes a whole number of seconds, not 'soon'"):
        parse("postgresql://h/stock?connect_timeout=soon")


def test_psql_gets_what_libpq_knows() -> None:
    url = parse("postgresql://h/stock?connect_timeout=3&channel_binding=prefer&pgbouncer=true&sslmode=require")
    assert url.psql == "postgresql://h/stock?connect_timeout=3&channel_binding=prefer&sslmode=require"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://joss:geheim@h:5433/stock?sslmode=require", "h:5433/stock"),
        ("postgresql:///stock?host=/run/a&password=geheim", "/run/a/stock"),
        ("postgresql:///stock?password=geheim", "its socket/stock"),
    ],
)
def test_an_address_that_is_shown_has_no_password(url: str, shown: str) -> None:
    assert address(url) == shown
