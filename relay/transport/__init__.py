"""Sending: one POST, one deadline over the whole exchange, and nothing followed, kept or unpacked on the way."""

from relay.transport.client import HttpTransport
from relay.transport.exchange import MAX_BODY_KEPT, MAX_HEADERS_KEPT, OpenRequest, Exchange, Transport

__all__ = ["MAX_BODY_KEPT", "MAX_HEADERS_KEPT", "OpenRequest", "Exchange", "HttpTransport", "Transport"]
