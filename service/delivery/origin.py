"""What others than its owner are told of a webhook's URL."""

from urllib.parse import urlsplit

# Of a URL that cannot be read: a row may have been written by psql.
UNREADABLE = "(not a URL)"


def origin_of(url: str) -> str:
    """Scheme, host and port. Path, query and login are left out: for chat services they are the secret."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return UNREADABLE
    if not host:
        return UNREADABLE
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}" + ("" if port is None else f":{port}")
