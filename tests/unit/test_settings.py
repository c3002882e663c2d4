from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path

import pytest

from service.platform.errors import StartupError
from service.platform.settings import load_settings, unknown_names
from service.platform.vault import new_key
from tests.support.environment import JWT_SECRET, WEBHOOK_SECRET_KEYS

pytestmark = pytest.mark.usefixtures("environment")

BAD = {
    "JOSSIEDB_ENV": "staging",
    "JWT_EXPIRES_IN": "a day",
    "REGISTRATION": "perhaps",
    "WEBHOOK_MAX_RETRIES": "21",
    "WEBHOOK_RETRY_DELAY": "99",
    "WEBHOOK_TIMEOUT": "soon",
    "WEBHOOK_BREAKER_DELAY": "99",
    "WEBHOOK_DISABLE_AFTER": "never",
    "WEBHOOK_ALLOWED_NETWORKS": "10.0.0.1/8",
    "WEBHOOK_SECRET_KEYS": "c2hvcnQ=",
    "RELAY_CONCURRENCY": "0",
}


def test_lists_everything_wrong_at_once_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in BAD.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(StartupError) as refused:
        load_settings()
    message = str(refused.value)
    assert all(f"{name}: " in message for name in BAD)
    assert "\n" not in message
    repeated = {name for name, value in BAD.items() if f'not "{value}"' in message}
    assert repeated == BAD.keys() - {"WEBHOOK_SECRET_KEYS"}


def test_a_bad_value_is_shown_in_one_short_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELAY_GRACE", "a\n" + "b" * 1000)
    with pytest.raises(StartupError) as refused:
        load_settings()
    assert 'not "a\\nbbb' in str(refused.value)
    assert len(str(refused.value)) < 200


def test_shows_no_secret_however_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = {
        "DATABASE_URL": "postgresql://user:hunter2hunter2@host/db",
        "JWT_SECRET": "short-jwt-secret",
        "WEBHOOK_SECRET_KEYS": "bm90LTMyLWJ5dGVz",
    }
    for name, value in {**secrets, "JOSSIEDB_ENV": "production"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(StartupError) as refused:
        load_settings()
    monkeypatch.setenv("JOSSIEDB_ENV", "development")
    monkeypatch.setenv("WEBHOOK_SECRET_KEYS", WEBHOOK_SECRET_KEYS)
    shown = f"{refused.value!r} {load_settings()!r}"
    for secret in ("hunter2", *secrets.values(), WEBHOOK_SECRET_KEYS):
        assert secret not in shown


def test_production_refuses_to_make_up_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("JWT_SECRET", "WEBHOOK_SECRET_KEYS"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("JOSSIEDB_ENV", "production")
    with pytest.raises(StartupError) as refused:
        load_settings()
    for name in ("JWT_SECRET", "WEBHOOK_SECRET_KEYS", "DATABASE_URL"):
        assert f"{name} must be set in production" in str(refused.value)


def test_what_production_misses_is_listed_beside_what_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JWT_SECRET", raising=False)
    monkeypatch.delenv("WEBHOOK_SECRET_KEYS", raising=False)
    monkeypatch.setenv("DATABASE_URL", "mysql://somebody:hunter2@host/db")
    monkeypatch.setenv("JOSSIEDB_ENV", "production")
    monkeypatch.setenv("WEBHOOK_MAX_RETRIES", "99")
    with pytest.raises(StartupError) as refused:
        load_settings()
    message = str(refused.value)
    assert "JWT_SECRET must be set" in message
    assert "WEBHOOK_SECRET_KEYS must be set" in message
    assert "DATABASE_URL: takes the address" in message
    assert "WEBHOOK_MAX_RETRIES: " in message
    assert "hunter2" not in message


@pytest.mark.parametrize("secret", ["secret", "changeme", "x" * 31])
def test_production_refuses_a_weak_secret(secret: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://host/db")
    monkeypatch.setenv("JOSSIEDB_ENV", "production")
    assert load_settings().jwt_key() == JWT_SECRET
    monkeypatch.setenv("JWT_SECRET", secret)
    with pytest.raises(StartupError, match="JWT_SECRET is a default or shorter than 32"):
        load_settings()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("15m", timedelta(minutes=15)),
        ("24h", timedelta(days=1)),
        ("7d", timedelta(days=7)),
        ("90s", timedelta(seconds=90)),
        ("90", timedelta(seconds=90)),
    ],
)
def test_reads_durations(text: str, expected: timedelta, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JWT_EXPIRES_IN", text)
    assert load_settings().jwt_expires_in == expected


@pytest.mark.parametrize("text", ["0", "-5m", "1.5h", "24 h", "1w", "h"])
def test_refuses_other_durations(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JWT_EXPIRES_IN", text)
    with pytest.raises(StartupError, match="JWT_EXPIRES_IN: takes a duration"):
        load_settings()


@pytest.mark.parametrize("delay", [100, 3_600_000])
def test_reads_how_patient_the_breaker_is(delay: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBHOOK_BREAKER_DELAY", str(delay))
    monkeypatch.setenv("WEBHOOK_DISABLE_AFTER", "36h")
    settings = load_settings()
    assert settings.webhook_breaker_delay == delay
    assert settings.webhook_disable_after == timedelta(hours=36)


@pytest.mark.parametrize("delay", [99, 3_600_001])
def test_refuses_a_breaker_that_is_too_hasty_or_too_slow(delay: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBHOOK_BREAKER_DELAY", str(delay))
    with pytest.raises(StartupError, match="WEBHOOK_BREAKER_DELAY: "):
        load_settings()


@pytest.mark.parametrize("text", ["10.0.0.0/8,::1/128", "10.0.0.0/8 ::1/128", " 10.0.0.0/8, ::1 "])
def test_reads_networks(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBHOOK_ALLOWED_NETWORKS", text)
    assert load_settings().webhook_allowed_networks == (ip_network("10.0.0.0/8"), ip_network("::1/128"))


def test_takes_an_empty_value_for_one_that_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in BAD:
        monkeypatch.setenv(name, "")
    settings = load_settings()
    assert settings.webhook_max_retries == 3
    assert settings.webhook_breaker_delay == 30_000
    assert settings.webhook_disable_after == timedelta(days=5)
    assert settings.webhook_allowed_networks == ()


def test_makes_secrets_once_and_keeps_them_to_their_owner(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("JWT_SECRET", "WEBHOOK_SECRET_KEYS"):
        monkeypatch.delenv(name)
    first, second = load_settings(), load_settings()
    assert len(first.jwt_key()) >= 32
    assert first.jwt_key() == second.jwt_key()
    assert second.vault().open(first.vault().seal(b"secret", b"owner"), b"owner") == b"secret"
    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {
        "jwt_secret": 0o600,
        "webhook_secret_keys": 0o600,
    }


def test_the_first_of_several_keys_seals(monkeypatch: pytest.MonkeyPatch) -> None:
    newest = new_key()
    monkeypatch.setenv("WEBHOOK_SECRET_KEYS", f"{newest},{WEBHOOK_SECRET_KEYS}")
    sealed = load_settings().vault().seal(b"secret", b"owner")
    monkeypatch.setenv("WEBHOOK_SECRET_KEYS", newest)
    assert load_settings().vault().open(sealed, b"owner") == b"secret"


def test_names_what_looks_like_a_setting_and_is_none() -> None:
    environment = dict.fromkeys(
        [
            "WEBHOOK_TIMEOUT",
            "WEBHOOK_TIMOUT",
            "JOSSIEDB_DATADIR",
            "RELAY_PORT",
            "JOSSIEDB_SERVICE_HOST",
            "RELAY_PORT_80_TCP",
            "PATH",
        ],
        "",
    )
    assert unknown_names(environment) == ["JOSSIEDB_DATADIR", "WEBHOOK_TIMOUT"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("JWT_EXPIRES_IN", "36501d"),
        ("JOSSIEDB_AUDIT_TTL", "99999999999999999999d"),
        ("WEBHOOK_EVENT_TTL", "999999999999999"),
    ],
)
def test_refuses_times_that_lead_beyond_the_calendar(name: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, text)
    with pytest.raises(StartupError, match=name):
        load_settings()
    monkeypatch.setenv(name, "3153600000")
    load_settings()
