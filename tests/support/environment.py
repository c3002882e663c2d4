"""The settings that programs under test get from the environment."""

JWT_SECRET = "a-fixed-secret-for-tests-of-enough-length"
WEBHOOK_SECRET_KEYS = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
SETTINGS = {
    "JWT_SECRET": JWT_SECRET,
    "WEBHOOK_SECRET_KEYS": WEBHOOK_SECRET_KEYS,
    "WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8,::1/128",
}


def is_setting(name: str) -> bool:
    """Whether the programs read this variable. Those with _TEST_ are read by the tests
    themselves."""
    prefixes = ("JOSSIEDB_", "JWT_", "WEBHOOK_", "RELAY_")
    return name in {"DATABASE_URL", "REGISTRATION"} or (name.startswith(prefixes) and "_TEST_" not in name)
