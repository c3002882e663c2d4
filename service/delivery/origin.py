"""The part of a webhook's URL that other users than its owner may see."""

from urllib.parse import urlsplit

# Shown instead of a URL that cannot be parsed. Such a URL comes from psql.
UNREADABLE = "(not a URL)"


def origin_of(url: str) -> str:
    """Scheme, host and port, or UNREADABLE. Path, query and login are left out, because the URLs of
    chat services have their secret there."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return UNREADABLE
    if not host:
        return UNREADABLE
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}" + ("" if port is None else f":{port}")
