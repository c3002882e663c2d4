"""Sending: one POST, one deadline over the whole exchange, and nothing followed, kept or unpacked on the way."""

from relay.transport.client import HttpTransport
from relay.transport.exchange import MAX_BODY_KEPT, MAX_HEADERS_KEPT, Exchange, OpenRequest, Transport

__all__ = ["MAX_BODY_KEPT", "MAX_HEADERS_KEPT", "Exchange", "HttpTransport", "OpenRequest", "Transport"]
