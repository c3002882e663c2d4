"""An exchange is the same, however its bytes are cut on their way."""

import asyncio
from collections.abc import Iterator
from dataclasses import asdict
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from relay.rules.endpoint import Origin
from relay.transport import MAX_BODY_KEPT
from relay.transport.connection import MAX_ANSWER, MAX_HEAD, Connection
from tests.support.receivers.in_memory_connection import Keeper, Waited, Wire

TOKEN = st.text(
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_!#$%&'*+.^`|~", min_size=1, max_size=12
)
FRAMING = {"content-length", "transfer-encoding", "connection", "upgrade", "proxy-connection"}
NAME = TOKEN.filter(lambda name: name.lower() not in FRAMING).map(str.encode)
VALUE = st.lists(st.sampled_from([*range(0x21, 0x7F), *range(0x80, 0x100), 0x20, 0x09]), max_size=30).map(
    lambda codes: bytes(codes).strip(b" \t")
)
HEADERS = st.lists(st.tuples(NAME, VALUE).map(lambda pair: pair[0] + b": " + pair[1] + b"\r\n"), max_size=6).map(
    b"".join
)
BODY = st.one_of(
    st.binary(max_size=300), st.integers(MAX_BODY_KEPT - 2, MAX_BODY_KEPT + 2).map(lambda size: b"z" * size)
)


@st.composite
def chunked(draw: st.DrawFn) -> bytes:
    body = draw(BODY)
    parts = []
    while body:
        size = draw(st.integers(1, len(body)))
        part, body = body[:size], body[size:]
        parts.append(b"%x%s\r\n%s\r\n" % (size, draw(st.sampled_from([b"", b";a=b", b";c"])), part))
    return b"".join(parts) + b"0\r\n" + draw(HEADERS) + b"\r\n"


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    interim = draw(
        st.lists(st.tuples(st.sampled_from([b"100 Continue", b"103 Early Hints"]), HEADERS), max_size=2).map(
            lambda heads: b"".join(b"HTTP/1.1 " + line + b"\r\n" + headers + b"\r\n" for line, headers in heads)
        )
    )
    status = draw(st.integers(200, 599).filter(lambda status: status not in {204, 304}))
    start = b"HTTP/1.%d %d %s\r\n" % (draw(st.integers(0, 1)), status, draw(st.sampled_from([b"", b"OK", b"Non \xe9"])))
    before, after = draw(HEADERS), draw(HEADERS)
    match draw(st.sampled_from(["length", "chunked", "end", "none"])):
        case "length":
            body = draw(BODY)
            return interim + start + before + b"Content-Length: %d\r\n" % len(body) + after + b"\r\n" + body
        case "chunked":
            return interim + start + before + b"Transfer-Encoding: chunked\r\n" + after + b"\r\n" + draw(chunked())
        case "end":
            return interim + start + before + b"\r\n" + draw(BODY)
        case _:
            return interim + b"HTTP/1.1 204 No Content\r\n" + before + b"\r\n"


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def receive(loop: asyncio.AbstractEventLoop, pieces: list[bytes]) -> dict[str, object]:
    keeper, wire, post = Keeper(), Wire(), Waited(loop)
    exchange = post.exchange
    connection = Connection(Origin("http", "a.test", 80), keeper, loop, post)
    connection.connection_made(wire)
    for piece in pieces:
        if exchange.status is None and exchange.error is None:
            connection.data_received(piece)
    if exchange.status is None and exchange.error is None:
        connection.eof_received()
    assert keeper.kept + wire.closed == 1
    exchange.first_byte_us = None
    return asdict(exchange)


def cut(answer: bytes, places: list[int]) -> list[bytes]:
    bounds = [0, *sorted({place % (len(answer) + 1) for place in places}), len(answer)]
    return [answer[start:end] for start, end in pairwise(bounds) if start < end]


PLACES = st.lists(st.integers(0, 100_000), max_size=12)


@given(answers(), PLACES)
def test_a_valid_answer_is_the_same_however_it_is_cut(
    loop: asyncio.AbstractEventLoop, answer: bytes, places: list[int]
) -> None:
    whole = receive(loop, [answer])
    assert whole["error"] is None
    assert receive(loop, cut(answer, places)) == whole
    if len(answer) < 2000:
        assert receive(loop, [bytes([byte]) for byte in answer]) == whole


@given(answers(), st.integers(0, 100_000), st.binary(max_size=3), st.integers(0, 3), PLACES)
def test_a_damaged_answer_is_the_same_however_it_is_cut(
    loop: asyncio.AbstractEventLoop, answer: bytes, place: int, instead: bytes, removed: int, places: list[int]
) -> None:
    place %= len(answer) + 1
    damaged = answer[:place] + instead + answer[place + removed :]
    assert receive(loop, cut(damaged, places)) == receive(loop, [damaged])


LONG = b"HTTP/1.1 200 OK\r\nX-A: %s\r\nContent-Length: 1\r\n\r\nx"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@given(st.integers(-3, 3), st.booleans(), PLACES)
@example(0, True, [])
def test_limits_are_the_same_however_the_answer_is_cut(
    loop: asyncio.AbstractEventLoop, beside: int, head: bool, places: list[int]
) -> None:
    if head:
        # The head, without the one byte of body, is at the limit or beside it.
        answer = LONG % (b"y" * (MAX_HEAD + beside - len(LONG % b"") + 1))
        expected = 200 if beside <= 0 else None
    else:
        answer = CHUNKED + b"1;" + b"y" * (MAX_ANSWER + beside - len(CHUNKED) - 2 - 8) + b"\r\nx\r\n0\r\n"
        expected = 200 if beside > 0 else None
    whole = receive(loop, [answer])
    assert whole["status"] == expected
    assert receive(loop, cut(answer, places)) == whole
