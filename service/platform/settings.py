"""Reads the settings, which come from the environment only.

docs/SETTINGS.md describes each of them. A test fails if a setting is missing there.
"""

import json
import os
import re
import secrets
from collections.abc import Callable, Mapping
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from service.platform.errors import StartupError
from service.platform.vault import Vault, new_key, parse_key

Network = IPv4Network | IPv6Network

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_PREFIXES = ("JOSSIEDB_", "JWT_", "WEBHOOK_", "RELAY_")
# Names of variables that orchestrators put into each container's environment for every service that
# they run.
_INJECTED = re.compile(r".*(?:_PORT(?:_.*)?|_SERVICE_.*|_HOST)$")
MIN_SECRET_CHARS = 32
_SHOWN_CHARS = 60
# A hundred years. Added to today, this is still a time that Python, PostgreSQL and asyncpg can
# hold.
MAX_SECONDS = 36_500 * 86_400
_WELL_KNOWN_SECRETS = frozenset({"secret", "changeme", "change-me", "your-secret-key", "development", "jossiedb"})


def parse_duration(value: Any) -> Any:
    """Parses `30s`, `15m`, `24h`, `7d` or a number of seconds. Raises ValueError."""
    if isinstance(value, str) and (match := re.fullmatch(r"([1-9][0-9]*)([smhd]?)", value.strip())):
        seconds = int(match[1]) * _UNITS[match[2] or "s"]
        if seconds > MAX_SECONDS:
            raise ValueError(f"takes at most {MAX_SECONDS // _UNITS['d']}d")
        return timedelta(seconds=seconds)
    if isinstance(value, timedelta):
        return value
    raise ValueError("takes a duration such as 15m, 24h, 7d, or a number of seconds, of at least one")


Duration = Annotated[timedelta, BeforeValidator(parse_duration)]


class Settings(BaseSettings):
    """All settings. A time that is a number has its unit in a comment."""

    model_config = SettingsConfigDict(frozen=True, env_ignore_empty=True, extra="ignore", hide_input_in_errors=True)

    database_url: SecretStr | None = None
    jossiedb_data_dir: Path = Path(".data")
    jossiedb_env: Literal["development", "production"] = "development"
    jossiedb_log_level: Literal["debug", "info", "warning", "error"] = "info"
    jossiedb_pool_size: int = Field(10, ge=1, le=200)
    jossiedb_trusted_proxies: Annotated[tuple[Network, ...], NoDecode] = ()
    jossiedb_connections: int = Field(10_000, ge=10, le=1_000_000)
    jossiedb_connections_per_peer: int = Field(1000, ge=1, le=1_000_000)
    jossiedb_head_timeout: int = Field(10_000, ge=1000, le=600_000)  # ms
    jossiedb_body_timeout: int = Field(30_000, ge=1000, le=3_600_000)  # ms
    jossiedb_keepalive_timeout: int = Field(75_000, ge=1000, le=3_600_000)  # ms
    jossiedb_idempotency_ttl: Duration = timedelta(hours=24)
    jossiedb_node_clients: bool = False
    jossiedb_job_ttl: Duration = timedelta(days=30)

    jwt_secret: SecretStr | None = None
    jwt_expires_in: Duration = timedelta(hours=24)
    jwt_refresh_expires_in: Duration = timedelta(days=30)
    registration: Literal["open", "closed"] = "open"
    jossiedb_session_ttl: Duration = timedelta(days=30)
    jossiedb_throttle_ttl: Duration = timedelta(hours=24)
    jossiedb_audit_ttl: Duration = timedelta(days=400)

    webhook_max_retries: int = Field(3, ge=0, le=20)
    webhook_retry_delay: int = Field(5000, ge=100, le=60_000)  # ms
    webhook_timeout: int = Field(30_000, ge=5000, le=60_000)  # ms
    webhook_event_ttl: int = Field(2_592_000, ge=86_400, le=MAX_SECONDS)  # s
    webhook_breaker_delay: int = Field(30_000, ge=100, le=3_600_000)  # ms
    webhook_disable_after: Duration = timedelta(days=5)
    webhook_https_only: bool = False
    webhook_allowed_networks: Annotated[tuple[Network, ...], NoDecode] = ()
    webhook_secret_keys: SecretStr | None = None

    relay_poll_interval: int = Field(30_000, ge=100, le=86_400_000)  # ms
    relay_concurrency: int = Field(352, ge=1, le=10_000)
    relay_concurrency_per_webhook: int = Field(64, ge=1, le=10_000)
    relay_grace: int = Field(20_000, ge=0, le=600_000)  # ms

    @field_validator("webhook_allowed_networks", "jossiedb_trusted_proxies", mode="before")
    @classmethod
    def _networks(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        networks = []
        for part in re.split(r"[\s,]+", value.strip()):
            try:
                networks.append(ip_network(part))
            except ValueError as error:
                raise ValueError(f"takes networks such as 10.0.0.0/8, comma separated: {error}") from None
        return tuple(networks)

    @field_validator("webhook_secret_keys")
    @classmethod
    def _keys(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            parse_keys(value)
        return value

    @field_validator("database_url")
    @classmethod
    def _postgresql(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith(("postgresql://", "postgres://")):
            raise ValueError("takes the address of a database, as in postgresql://user:password@host:5432/name")
        return value

    @model_validator(mode="after")
    def _production_needs_secrets(self) -> "Settings":
        if self.jossiedb_env == "production" and (wrong := _missing(self.model_dump())):
            raise ValueError("; ".join(wrong))
        return self

    def jwt_key(self) -> str:
        """The key that signs tokens. In development it is made once, and kept in the data
        directory."""
        if self.jwt_secret is not None:
            return self.jwt_secret.get_secret_value()
        return _kept(self.jossiedb_data_dir / "jwt_secret", lambda: secrets.token_urlsafe(48))

    def vault(self) -> Vault:
        """The keys that seal webhooks' secrets. In development one key is made once, and kept in
        the data directory."""
        if self.webhook_secret_keys is not None:
            return Vault(parse_keys(self.webhook_secret_keys))
        return Vault([parse_key(_kept(self.jossiedb_data_dir / "webhook_secret_keys", new_key))])


def load_settings() -> Settings:
    """The settings. Raises StartupError, with a text that lists all bad settings at once and shows
    no secret."""
    try:
        return Settings()
    except ValidationError as error:
        lines = []
        given = {name.lower(): value for name, value in os.environ.items()}
        if given.get("jossiedb_env") == "production" and error.errors()[0]["loc"]:
            # The error is about values that cannot be read. Pydantic then does not look for
            # settings that are missing.
            lines += _missing(given)
        for problem in error.errors(include_url=False, include_input=False):
            name = str(problem["loc"][0]).upper() if problem["loc"] else ""
            message = problem["msg"].removeprefix("Value error, ")
            if name and not _is_secret(name.lower()) and name.lower() in given:
                message += f", not {_quoted(given[name.lower()])}"
            lines.append(f"{name}: {message}" if name else message)
        raise StartupError("bad settings: " + "; ".join(lines)) from None


def _is_secret(name: str) -> bool:
    annotation = Settings.model_fields[name].annotation
    return SecretStr in (annotation, *get_args(annotation))


def _quoted(value: str) -> str:
    """The value as JSON, which shows blanks and line ends. It is cut, because the message is one
    line."""
    shown = value if len(value) <= _SHOWN_CHARS else f"{value[:_SHOWN_CHARS]}…"
    return json.dumps(shown, ensure_ascii=False)


def _missing(given: Mapping[str, Any]) -> list[str]:
    """Messages about settings that production requires, and that are missing or weak."""
    wrong = []
    secret = given.get("jwt_secret")
    if not secret:
        wrong.append("JWT_SECRET must be set in production")
    elif is_weak(secret.get_secret_value() if isinstance(secret, SecretStr) else secret):
        wrong.append(f"JWT_SECRET is a default or shorter than {MIN_SECRET_CHARS} characters")
    if not given.get("webhook_secret_keys"):
        wrong.append("WEBHOOK_SECRET_KEYS must be set in production")
    if not given.get("database_url"):
        wrong.append("DATABASE_URL must be set in production; the embedded PostgreSQL is for development")
    return wrong


def unknown_names(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Names in the environment that look like settings and are none. Most likely, these are typing
    errors."""
    known = {name.upper() for name in Settings.model_fields}
    return sorted(
        name
        for name in environment
        if name.startswith(_PREFIXES)
        and name not in known
        and not name.startswith("JOSSIEDB_TEST_")
        and not _INJECTED.fullmatch(name)
    )


def parse_keys(value: SecretStr) -> list[bytes]:
    """Parses keys that are separated by commas or white space, newest first. Raises ValueError,
    whose text shows no key."""
    parts = [part for part in re.split(r"[\s,]+", value.get_secret_value().strip()) if part]
    if not parts:
        raise ValueError("takes one or more base64 keys of 32 bytes, newest first")
    return [parse_key(part) for part in parts]


def is_weak(secret: str) -> bool:
    return len(secret) < MIN_SECRET_CHARS or secret.lower() in _WELL_KNOWN_SECRETS


def _kept(path: Path, make: Callable[[], str]) -> str:
    """The text in the file `path`. The file is made first if it does not exist. Raises
    StartupError."""
    try:
        return _read_or_make(path, make)
    except OSError as error:
        raise StartupError(
            f"{error.filename or path} cannot be used: {error.strerror}; set JOSSIEDB_DATA_DIR elsewhere"
        ) from None


def _read_or_make(path: Path, make: Callable[[], str]) -> str:
    """Reads the file, or makes it. If several processes start together, all of them return the same
    text."""
    try:
        return path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        pass
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(make() + "\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)  # unlike a rename, this fails if another process was first
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    return path.read_text(encoding="ascii").strip()
