"""The arithmetic of the benchmarks, and their receiver."""

import os
from typing import Any

import pytest

from bench import cpu
from bench.measure import Figure, Row, Target, compared, cpu_text, interleave, percentile
from bench.receiver import Receiving, Seen
from bench.report import markdown
from bench.world import Options


class Wire:
    """A transport that keeps the bytes written to it."""

    def __init__(self) -> None:
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written += data


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def receiving(seen: Seen, wire: Any) -> Receiving:
    receiving = Receiving(seen)
    receiving.connection_made(wire)
    return receiving


EVENT = b"0190b7c4-0000-7000-8000-000000000000"
REQUEST = b"POST /1 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nWebhook-Id: " + EVENT + b"\r\n\r\n\r\n\r\n1"


@pytest.mark.parametrize("cut", range(1, len(REQUEST)))
def test_the_receiver_counts_a_request_once_however_it_is_cut(
    receiving: Receiving, seen: Seen, wire: Wire, cut: int
) -> None:
    receiving.data_received(REQUEST[:cut])
    assert seen.count == 0
    receiving.data_received(REQUEST[cut:])
    assert seen.count == 1
    assert list(seen.arrivals) == [EVENT]
    assert wire.written.count(b"HTTP/1.1 200 OK") == 1


def test_the_receiver_answers_requests_that_come_together(receiving: Receiving, seen: Seen, wire: Wire) -> None:
    receiving.data_received(REQUEST * 3 + b"GET /_count HTTP/1.1\r\n\r\n")
    assert seen.count == 3
    assert wire.written.endswith(b"\r\n\r\n3")


def test_a_receiver_that_hangs_neither_answers_nor_counts(receiving: Receiving, seen: Seen, wire: Wire) -> None:
    receiving.data_received(REQUEST.replace(b"/1", b"/hang/1", 1))
    assert (seen.count, wire.written) == (0, b"")


async def test_arms_take_turns_and_the_order_is_reversed_every_other_round() -> None:
    order: list[str] = []

    def arm(name: str) -> Any:
        async def run() -> Figure:
            order.append(name)
            return Figure(len(order), "/s")

        return run

    figures = await interleave(3, {"a": arm("a"), "b": arm("b")})
    assert order == ["a", "b", "b", "a", "a", "b"]
    assert [figure.value for figure in figures["a"]] == [1, 4, 5]


def test_a_ratio_is_made_pair_by_pair_and_judged_by_its_median() -> None:
    figures = {"us": [Figure(6, "/s"), Figure(1, "/s"), Figure(8, "/s")], "them": [Figure(10, "/s") for _ in range(3)]}
    row = compared("x", figures, "us", "them", Target("at least", 0.6))
    assert row.ratios == [0.6, 0.1, 0.8]
    assert (row.median, row.verdict) == (0.6, "pass")
    assert compared("x", figures, "us", "them", Target("at least", 0.7)).verdict == "short"
    assert compared("x", figures, "us", "them", Target("at most", 0.5)).verdict == "short"
    assert compared("x", figures, "us", "them", None).verdict == "reported"


def test_what_is_judged_beside_a_ratio_counts() -> None:
    assert Row("x", target=Target("at most", 0), judged=0.0).verdict == "pass"
    assert Row("x", target=Target("at most", 0), judged=1.0).verdict == "short"
    assert Row("x", failed="why", judged=0.0, target=Target("at most", 0)).verdict == "failed: why"


def test_percentiles_are_of_the_sorted_values() -> None:
    values = [float(number) for number in reversed(range(100))]
    assert [percentile(values, share) for share in (0.5, 0.95, 0.99, 1.0)] == [50, 95, 99, 99]


def test_cpu_is_given_for_each_delivery() -> None:
    figure = Figure.rate(1000, cpu.Cpu(relay=0.1, postgres=0.05, receiver=0.5, elapsed=2.0))
    assert figure.value == 500
    assert cpu_text([figure]) == "relay 100 + PostgreSQL 50 µs; receiver 25% of a core"


def test_cpu_says_what_it_is_of_where_no_relay_delivers() -> None:
    figure = Figure(500, "/s", cpu.Cpu(relay=0.1, postgres=0.05, receiver=0.0, elapsed=2.0).per_delivery(1000))
    assert cpu_text([figure], process="API", per="a request") == "API 100 + PostgreSQL 50 µs a request"


def test_the_cpu_of_a_process_grows_and_that_of_one_that_is_gone_is_nothing() -> None:
    before = cpu.seconds([os.getpid()])
    while cpu.seconds([os.getpid()]) == before:
        sum(range(10_000))
    assert cpu.seconds([2**22 + 1]) == 0.0


def test_the_markdown_table_has_a_line_for_each_row_with_as_many_cells() -> None:
    lines = markdown([Row("a | b"), Row("c", failed="it broke")], Options()).splitlines()
    cells = [line.replace("\\|", "").count("|") for line in lines[:4]]
    assert len(set(cells)) == 1
    assert "failed: it broke" in lines[3]
