"""Deliveries that end without an answer: by a defect of ours, or because the request is given up.
Each releases its slot exactly once."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from relay.lead.fanout import FanOut
from relay.transport import Exchange, HttpTransport, OpenRequest
from relay.transport.exchange import OnExchange
from service.platform.db import Pool
from service.platform.settings import Settings
from tests.support.database import Connection
from tests.support.receivers.receiver import Receiver
from tests.support.relay.sending import Sending, register
from tests.support.rows import add_webhook, write_event
from tests.support.waiting import until

Defect = Callable[[OnExchange], None]


class Tampered(HttpTransport):
    """The first request meets `defect` instead of the network. Later requests are sent."""

    defect: Defect | None = None
    ended: OnExchange | None = None

    def begin(
        self, url: str, headers: dict[str, str], body: bytes, timeout_ms: int, ended: OnExchange, *, retry: int = 0
    ) -> OpenRequest:
        if (defect := self.defect) is not None:
            self.defect, self.ended = None, ended
            defect(ended)
            return Nothing()
        return super().begin(url, headers, body, timeout_ms, ended, retry=retry)


class Nothing:
    def cancel(self) -> None:
        pass


def raises(_: OnExchange) -> None:
    raise RuntimeError("a defect")


def tells(ended: OnExchange) -> None:
    ended(RuntimeError("a defect"))


def tells_twice(ended: OnExchange) -> None:
    ended(RuntimeError("a defect"))
    ended(Exchange(status=200))


def tells_what_cannot_be(ended: OnExchange) -> None:
    ended(Exchange(status="200"))  # type: ignore[arg-type]


def tells_nothing(_: OnExchange) -> None:
    pass


@pytest.fixture
async def transport(settings: Settings) -> AsyncIterator[Tampered]:
    transport = Tampered(settings.webhook_allowed_networks)
    yield transport
    await transport.close()


Start = Callable[[], Awaitable[Sending]]


@pytest.fixture
async def start(
    connection: Connection, settings: Settings, pool: Pool, receiver: Receiver, transport: Tampered
) -> AsyncIterator[Start]:
    """With a single slot, and two deliveries that are due."""
    await add_webhook(connection, settings, receiver.url, ["item-created"])
    for _ in range(2):
        await write_event(connection)
    await FanOut(pool).batch()
    started: list[Sending] = []

    async def begin() -> Sending:
        started.append(Sending(pool, settings, await register(connection), transport, concurrency=1))
        started[-1].board.sweep()
        return started[-1]

    yield begin
    for sending in started:
        await sending.stop()


@pytest.mark.parametrize("defect", [raises, tells, tells_twice, tells_what_cannot_be])
async def test_a_defect_ends_its_own_delivery_only(
    connection: Connection, receiver: Receiver, transport: Tampered, start: Start, defect: Defect
) -> None:
    transport.defect = defect
    sending = await start()
    await receiver.wait_for(lambda: len(receiver.arrivals) == 1)
    await until(_recorded(connection, 1), "the other is recorded")
    await until(_recorded(connection, 1, "failed"), "so is the defect")
    assert sending.dispatcher.in_flight == 0
    assert sending.dispatcher.delivered == 1
    assert await connection.fetchval("select count(*) from deliveries") == 0
    why = await connection.fetchval("select error from attempts where outcome = 'failed'")
    assert why.startswith("the relay could not make this delivery: ")
    assert why.partition(": ")[2] in {
        "RuntimeError: a defect",
        "TypeError: '<=' not supported between instances of 'int' and 'str'",
    }


async def test_an_answer_before_the_call_returns_is_one_like_another(
    connection: Connection, receiver: Receiver, transport: Tampered, start: Start
) -> None:
    transport.defect = lambda ended: ended(Exchange(status=200))
    sending = await start()
    await receiver.wait_for(lambda: len(receiver.arrivals) == 1)
    await until(_recorded(connection, 2), "both are recorded")
    assert (sending.dispatcher.in_flight, sending.dispatcher.delivered) == (0, 2)


async def test_what_comes_of_a_request_that_was_given_up_is_not_recorded(
    connection: Connection, transport: Tampered, start: Start
) -> None:
    transport.defect = tells_nothing
    sending = await start()

    async def under_way() -> bool:
        return sending.dispatcher.in_flight == 1

    await until(under_way, "it is under way")
    sending.dispatcher.stop_claiming()
    await sending.dispatcher.finish(0)
    assert sending.dispatcher.in_flight == 0
    assert transport.ended is not None
    transport.ended(Exchange(status=200))
    assert sending.recorder.fences() == []
    await sending.dispatcher.leases.give_back_cut_off()
    row = await connection.fetchrow("select count(*), sum(lost_leases) from deliveries where leased_by is null")
    assert tuple(row or ()) == (2, 0)


def _recorded(connection: Connection, count: int, outcome: str = "success") -> Callable[[], Awaitable[bool]]:
    async def condition() -> bool:
        return bool(await connection.fetchval("select count(*) from attempts where outcome = $1", outcome) == count)

    return condition
