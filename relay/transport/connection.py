"""One connection: sends a request and reads the answer, again and again while both sides keep it
open."""

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

# All interim answers (1xx) and the head together must fit into so many bytes. Less of them is kept.
MAX_HEAD = MAX_HEADERS_KEPT
# Chunks of one byte, chunk extensions and trailers take more bytes than the body that they carry.
# This limits them.
MAX_ANSWER = MAX_HEAD + 16 * MAX_BODY_KEPT


class Post(ABC):
    """A request, and its callback `ended`. `started` is in monotonic seconds, `deadline` is by the
    loop's clock."""

    __slots__ = ("address", "deadline", "exchange", "request", "started")

    def __init__(self, request: bytes, exchange: Exchange, started: float, deadline: float) -> None:
        self.request = request
        self.exchange = exchange
        self.started = started
        self.deadline = deadline
        # The server's address, once there is a connection.
        self.address: str | None = None

    @abstractmethod
    def ended(self, how: int) -> None:
        """Called once for each connection that the request was sent on, unless it was dropped
        there. By then, the connection may carry another request."""


class Keeper(Protocol):
    """The owner of connections, which keeps them between requests."""

    def opened(self, connection: "Connection") -> None: ...
    def give(self, connection: "Connection") -> None: ...
    def lost(self, connection: "Connection") -> None: ...


class Connection(asyncio.Protocol):
    """Carries one exchange at a time.

    The exchange depends on the bytes alone, and not on how the network cut them into pieces. Limits
    are counted in bytes. Bytes after the end of an answer only decide whether the connection is
    used again.
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
        """`first` is sent as soon as the connection is open, because some servers answer without
        reading."""
        self.origin = origin
        self.address = first.address
        self.since = time.monotonic()
        self._keeper = keeper
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        # The request under way.
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
        """False if the other side has closed the connection, even before the loop calls
        `connection_lost`."""
        return self._transport is not None and not self._transport.is_closing()

    def send(self, post: Post) -> None:
        """Writes the request, and begins to expect the answer."""
        self._reset()
        self._post = post
        if self._transport is None:
            self._broken(post, None)
            return
        # The timer of an earlier exchange usually still runs and rings first. Then it is set for
        # this one. A timer for each exchange would cost as much as making its request.
        if self._timer is None or self._timer.when() > post.deadline:
            self._set_timer(post.deadline)
        self._transport.write(post.request)

    def drop(self, post: Post) -> None:
        """Nobody waits for the answer any more. If it has come already, the connection carries
        another request, which goes on."""
        if self._post is post:
            self._post = None
            self.abort()

    def abort(self) -> None:
        """Closes at once, without waiting for unsent bytes or for TLS to say goodbye."""
        if self._transport is not None:
            self._transport.abort()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        # Parser and protocol refer to each other. Break the cycle.
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
            # The loop's clock has a resolution of a millisecond, so the timer may ring a little
            # early.
            if self._loop.time() >= post.deadline - 0.001:
                self._end(post, LATE)
            else:
                self._set_timer(post.deadline)

    def _reusable(self) -> bool:
        # If an answer came before the whole request was sent, the rest of that request is in the
        # way.
        return self.usable and cast(asyncio.Transport, self._transport).get_write_buffer_size() == 0

    def _fail(self, post: Post, error: str) -> None:
        post.exchange.error = one_line(error)
        self._end(post, FAILED)

    # The loop calls these.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._keeper.opened(self)
        if self._first is not None:
            self.send(self._first)
            self._first = None

    def data_received(self, data: bytes) -> None:
        post = self._post
        if post is None or self._parser is None:
            # No request is under way.
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
            # The answer is 101, which nobody asked for. It counts like any other, and ends HTTP on
            # this connection.
            self._keep = False
        except httptools.HttpParserError as error:
            self._keep = False
            self._error = self._error or f"the answer is not valid HTTP: {error}"
        if self._done:
            self._end(post, ANSWERED)
        elif self._error is not None:
            self._fail(post, self._error)

    def _feed(self, parser: httptools.HttpResponseParser, data: bytes) -> None:
        """Feeds the parser as many bytes at a time as the limit allows. The end of the head raises
        the limit."""
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
        """The other side sends no more, and reported no error."""
        if (post := self._post) is not None:
            self._keep = False
            if self._head_done and not self._framed():
                self._end(post, ANSWERED)
            else:
                self._broken(post, None)

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is None and self._parser is not None:
            # The other side closed TLS without close_notify, as many servers do. Then the loop
            # calls this, and not eof_received. A body that ends with the connection is as complete
            # as over plain HTTP. If there is no parser, the connection was aborted on this side.
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
        """Whether the head says where the body ends. If not, the body ends with the connection."""
        for line in self._head:
            name, _, value = line.lower().partition(b": ")
            if name == b"content-length" or (name == b"transfer-encoding" and value.rstrip().endswith(b"chunked")):
                return True
        return False

    # The parser calls these. An error of the parser after `_done` changes nothing.

    def on_message_begin(self) -> None:
        if self._done:
            # This is a second answer to one request.
            self._keep = False

    def on_header(self, name: bytes, value: bytes) -> None:
        # Header lines after the head are trailers, which nobody needs.
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
                # The rest is not read, however long it is.
                self._done = True
                self._keep = False

    def on_message_complete(self) -> None:
        # Interim answers end before the head is done.
        if self._head_done:
            self._done = True
