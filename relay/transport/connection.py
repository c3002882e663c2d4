"""One connection: a request out, an answer in, for as long as both sides keep it."""

import asyncio
import time
from abc import ABC, abstractmethod
from typing import Protocol, cast

import httptools

from relay.rules.endpoint import Origin
from relay.transport.exchange import MAX_BODY_KEPT, MAX_HEADERS_KEPT, Exchange, microseconds, one_line

# How an exchange ends.
ANSWERED = 0
FAILED = 1  # the exchange's `error` says why
SILENT = 2  # the connection ended before a byte of the answer
LATE = 3  # the deadline came first

# All of the interim answers (1xx) and of the head must fit into so many bytes; what is kept of it is less.
MAX_HEAD = MAX_HEADERS_KEPT
# Chunks of one byte, chunk extensions and trailers take more bytes than the body that they carry. Enough is enough.
MAX_ANSWER = MAX_HEAD + 16 * MAX_BODY_KEPT


class Post(ABC):
    """A request, and what is called when it has ended. `started` in monotonic seconds, `deadline` by the loop's clock."""

    __slots__ = ("address", "deadline", "exchange", "request", "started")

    def __init__(self, request: bytes, exchange: Exchange, started: float, deadline: float) -> None:
        self.request = request
        self.exchange = exchange
        self.started = started
        self.deadline = deadline
        # Of the server, once there is a connection.
        self.address: str | None = None

    @abstractmethod
    def ended(self, how: int) -> None:
        """Called once on each connection that it was sent on, unless it was dropped there. The connection may be another's by
        now."""


class Keeper(Protocol):
    """Who holds connections between requests."""

    def opened(self, connection: "Connection") -> None: ...
    def give(self, connection: "Connection") -> None: ...
    def lost(self, connection: "Connection") -> None: ...


class Connection(asyncio.Protocol):
    """Carries one exchange at a time.

    What the exchange holds in the end depends on the bytes alone, not on how they were cut on the way: limits are counted in
    bytes, and what comes after the end of an answer only decides whether the connection is used again.
    """

    __slots__ = (
        "_body",
        "_done",
        "_error",
        "_first",
        "_head",
        "_head_done",
        "_keep",
        "_keeper",
        "_limit",
        "_loop",
        "_parser",
        "_post",
        "_received",
        "_status",
        "_timer",
        "_transport",
        "address",
        "origin",
        "since",
    )

    def __init__(self, origin: Origin, keeper: Keeper, loop: asyncio.AbstractEventLoop, first: Post) -> None:
        """`first` is sent as soon as the connection stands: some servers answer without reading."""
        self.origin = origin
        self.address = first.address
        self.since = time.monotonic()
        self._keeper = keeper
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        # What is under way.
        self._post: Post | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._first: Post | None = first
        self._reset()

    def _reset(self) -> None:
        self._status = 0
        self._head: list[bytes] = []
        self._head_done = False
        self._body = b""
        self._done = False
        self._error: str | None = None
        self._keep = False
        self._received = 0
        self._limit = MAX_HEAD

    @property
    def usable(self) -> bool:
        """False where the other side has closed it and the loop has not said so yet."""
        return self._transport is not None and not self._transport.is_closing()

    def send(self, post: Post) -> None:
        """Write, and begin to listen for the answer."""
        self._reset()
        self._post = post
        if self._transport is None:
            self._broken(post, None)
            return
        # As a rule the timer of an earlier exchange still runs and rings first; then the next is set. One for each exchange would
        # cost as much as making its request.
        if self._timer is None or self._timer.when() > post.deadline:
            self._set_timer(post.deadline)
        self._transport.write(post.request)

    def drop(self, post: Post) -> None:
        """Nobody waits for its answer any more. Where that has come all the same, the connection is another's already."""
        if self._post is post:
            self._post = None
            self.abort()

    def abort(self) -> None:
        """Close at once: neither what is unsent nor a farewell of TLS is worth waiting for."""
        if self._transport is not None:
            self._transport.abort()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        # Parser and protocol refer to each other.
        self._parser = None

    def _end(self, post: Post, how: int) -> None:
        self._post = None
        if how == ANSWERED:
            exchange = post.exchange
            exchange.status = self._status
            exchange.headers = b"\r\n".join(self._head)
            exchange.body = self._body[:MAX_BODY_KEPT]
        if how == ANSWERED and self._keep and self._reusable():
            self._keeper.give(self)
        else:
            self.abort()
        post.ended(how)

    def _set_timer(self, deadline: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(deadline, self._ring)

    def _ring(self) -> None:
        self._timer = None
        if (post := self._post) is not None:
            # The loop's clock counts milliseconds, and may ring within the last one.
            if self._loop.time() >= post.deadline - 0.001:
                self._end(post, LATE)
            else:
                self._set_timer(post.deadline)

    def _reusable(self) -> bool:
        # An answer that came before the request was read to its end leaves the rest of it in the way.
        return self.usable and cast(asyncio.Transport, self._transport).get_write_buffer_size() == 0

    def _fail(self, post: Post, error: str) -> None:
        post.exchange.error = one_line(error)
        self._end(post, FAILED)

    # What the loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._keeper.opened(self)
        if self._first is not None:
            self.send(self._first)
            self._first = None

    def data_received(self, data: bytes) -> None:
        post = self._post
        if post is None or self._parser is None:
            # Nobody asked.
            self.abort()
            return
        if post.exchange.first_byte_us is None:
            post.exchange.first_byte_us = microseconds(time.monotonic() - post.started)
        try:
            if self._received + len(data) <= self._limit:
                self._received += len(data)
                self._parser.feed_data(data)
            else:
                self._feed(self._parser, data)
        except httptools.HttpParserUpgrade:
            # 101, which nobody asked for: an answer like another, and the end of HTTP on this connection.
            self._keep = False
        except httptools.HttpParserError as error:
            self._keep = False
            self._error = self._error or f"the answer is not valid HTTP: {error}"
        if self._done:
            self._end(post, ANSWERED)
        elif self._error is not None:
            self._fail(post, self._error)

    def _feed(self, parser: httptools.HttpResponseParser, data: bytes) -> None:
        """As many bytes at a time as the limit leaves room for; the end of the head raises it."""
        while data and not self._done and self._error is None:
            room = self._limit - self._received
            if room == 0:
                self._keep = False
                if self._head_done:
                    self._done = True
                else:
                    self._error = f"the answer has too many header bytes, more than {MAX_HEAD}"
                return
            part, data = data[:room], data[room:]
            self._received += len(part)
            parser.feed_data(part)

    def eof_received(self) -> bool:
        self._closed()
        return False

    def _closed(self) -> None:
        """The other side sends no more, and says nothing of an error."""
        if (post := self._post) is not None:
            self._keep = False
            if self._head_done and not self._framed():
                self._end(post, ANSWERED)
            else:
                self._broken(post, None)

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is None and self._parser is not None:
            # The other side closed TLS without close_notify, as many servers do: the loop calls this and not eof_received. A body
            # that ends with the connection is no less whole than over plain HTTP. Without a parser it was aborted here.
            self._closed()
        elif self._post is not None:
            self._broken(self._post, exc)
        self._transport = None
        self.abort()
        self._keeper.lost(self)

    def _broken(self, post: Post, exc: Exception | None) -> None:
        why = f": {exc}" if exc is not None and str(exc) else ""
        if self._received:
            self._fail(post, f"the answer broke off{why}")
        else:
            post.exchange.error = one_line(f"the connection was closed before an answer{why}")
            self._end(post, SILENT)

    def _framed(self) -> bool:
        """Whether the head says where the body ends; if not, it ends with the connection."""
        for line in self._head:
            name, _, value = line.lower().partition(b": ")
            if name == b"content-length" or (name == b"transfer-encoding" and value.rstrip().endswith(b"chunked")):
                return True
        return False

    # What the parser calls. An error of the parser after `_done` changes nothing.

    def on_message_begin(self) -> None:
        if self._done:
            # A second answer to one request.
            self._keep = False

    def on_header(self, name: bytes, value: bytes) -> None:
        # After the head come trailers, which nobody needs.
        if not self._head_done:
            self._head.append(name + b": " + value)

    def on_headers_complete(self) -> None:
        if self._head_done or self._error is not None or self._parser is None:
            return
        status = self._parser.get_status_code()
        if 100 <= status < 200 and status != 101:
            self._head.clear()
            return
        if status < 100:
            self._error = f"the answer is not valid HTTP: status {status}"
            return
        self._status = status
        self._head_done = True
        self._limit = MAX_ANSWER
        self._keep = self._parser.should_keep_alive()

    def on_body(self, data: bytes) -> None:
        if self._head_done and not self._done:
            self._body = self._body + data if self._body else data
            if len(self._body) > MAX_BODY_KEPT:
                # More than is kept: the rest, however long, is not read.
                self._done = True
                self._keep = False

    def on_message_complete(self) -> None:
        # Those of interim answers come before the head.
        if self._head_done:
            self._done = True
