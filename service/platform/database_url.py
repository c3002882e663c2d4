"""Sorts the parameters of DATABASE_URL into those that have an effect and those that are dropped.

asyncpg sends a parameter that it does not know to the server as a setting, and the server then
refuses the connection. So without this, not every URL that libpq accepts would work.
"""

from dataclasses import dataclass
from functools import cache
from urllib.parse import unquote

# Seconds, for a URL without connect_timeout.
CONNECT_TIMEOUT = 10.0
# Seconds. This stands for no limit.
_NO_LIMIT = 86_400.0

_SSL = {f"ssl{name}" for name in ("mode", "cert", "key", "password", "rootcert", "crl")} | {
    "ssl_min_protocol_version",
    "ssl_max_protocol_version",
}
_COMMON = _SSL | {"host", "port", "dbname", "user", "password", "passfile", "service", "krbsrvname", "gsslib"}
# The parameters that asyncpg itself understands, as libpq does.
_ASYNCPG = _COMMON | {"database", "servicefile", "sslnegotiation", "target_session_attrs"}
# The parameters that psql accepts, since that of PostgreSQL 15.
_PSQL = (
    _COMMON
    | {"target_session_attrs", "connect_timeout", "application_name", "fallback_application_name", "options"}
    | {"keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout"}
    | {"hostaddr", "client_encoding", "channel_binding", "gssencmode", "requirepeer", "replication"}
    | {"sslcompression", "sslcrldir", "sslsni"}
)
_OURS = {"connect_timeout", "application_name", "options"}


@dataclass(frozen=True, slots=True)
class DatabaseUrl:
    """DATABASE_URL, parsed.

    `dsn` is the URL for asyncpg, and `psql` the URL for psql. `connect_timeout` is in seconds.
    `server_settings` are sent as startup parameters. `dropped` has the names of the parameters that
    have no effect.
    """

    dsn: str
    psql: str
    connect_timeout: float
    server_settings: dict[str, str]
    dropped: tuple[str, ...]


@cache
def parse(url: str) -> DatabaseUrl:
    """Raises ValueError if connect_timeout is not a whole number."""
    head, _, query = url.partition("?")
    # The parameters stay encoded as they are, so that asyncpg and psql read what the user wrote.
    given = [(pair.partition("=")[0], pair) for pair in query.split("&") if pair.partition("=")[2]]
    values = {name: unquote(pair.partition("=")[2]) for name, pair in given}

    def with_only(names: set[str]) -> str:
        kept = "&".join(pair for name, pair in given if name in names)
        return f"{head}?{kept}" if kept else head

    return DatabaseUrl(
        dsn=with_only(_ASYNCPG),
        psql=with_only(_PSQL),
        connect_timeout=_seconds(values["connect_timeout"]) if "connect_timeout" in values else CONNECT_TIMEOUT,
        server_settings={name: values[name] for name in ("application_name", "options") if name in values},
        dropped=tuple(dict.fromkeys(name for name, _ in given if name not in _ASYNCPG | _OURS)),
    )


def _seconds(value: str) -> float:
    """connect_timeout as libpq defines it: whole seconds, where 0 or less means no limit."""
    try:
        seconds = int(value)
    except ValueError:
        raise ValueError(f"connect_timeout takes a whole number of seconds, not {value!r}") from None
    return seconds if seconds > 0 else _NO_LIMIT
