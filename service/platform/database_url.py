"""DATABASE_URL: which of its parameters hold, and which are dropped. asyncpg sends those that it does not know to the server as
settings, and the server refuses the connection. So a URL that libpq takes would not do."""

from dataclasses import dataclass
from functools import cache
from urllib.parse import unquote

# In seconds, for a URL without connect_timeout.
CONNECT_TIMEOUT = 10.0
# As long as that stands for no limit.
_NO_LIMIT = 86_400.0

_SSL = {f"ssl{name}" for name in ("mode", "cert", "key", "password", "rootcert", "crl")} | {
    "ssl_min_protocol_version",
    "ssl_max_protocol_version",
}
_COMMON = _SSL | {"host", "port", "dbname", "user", "password", "passfile", "service", "krbsrvname", "gsslib"}
# What asyncpg itself honours, as libpq does.
_ASYNCPG = _COMMON | {"database", "servicefile", "sslnegotiation", "target_session_attrs"}
# What psql takes, from PostgreSQL 15's on.
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
    """`dsn`: for asyncpg. `psql`: for psql. `connect_timeout`: in seconds. `server_settings`: sent as startup
    parameters. `dropped`: names of parameters that have no effect."""

    dsn: str
    psql: str
    connect_timeout: float
    server_settings: dict[str, str]
    dropped: tuple[str, ...]


@cache
def parse(url: str) -> DatabaseUrl:
    """Raises ValueError if a value that is honoured here is not valid."""
    head, _, query = url.partition("?")
    # Kept as they stand, so that they mean to asyncpg and psql what they meant.
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
    """As libpq has it: whole seconds; 0, or less, for no limit."""
    try:
        seconds = int(value)
    except ValueError:
        raise ValueError(f"connect_timeout takes a whole number of seconds, not {value!r}") from None
    return seconds if seconds > 0 else _NO_LIMIT
