"""Sending: one POST with one deadline over the whole exchange, without redirects, cookies or
decompression."""

from relay.transport.client import HttpTransport
from relay.transport.exchange import MAX_BODY_KEPT, MAX_HEADERS_KEPT, Exchange, OpenRequest, Transport

__all__ = ["MAX_BODY_KEPT", "MAX_HEADERS_KEPT", "Exchange", "HttpTransport", "OpenRequest", "Transport"]
