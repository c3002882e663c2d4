"""Clocks that leap: the server's, a relay's, an API host's; ahead and back, while it runs and over
a restart. No effect stays once they are right."""

import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest

from service.platform.settings import load_settings
from tests.support.command_line import BOSS, PASSWORD, Server, run, serving
from tests.support.faketime import NOW, FakeClock
from tests.support.postgres.throwaway import Throwaway, throwaway_server
from tests.support.receivers.receiver import Receiver, accept
from tests.support.relay.breakers import answering
from tests.support.relay.processes import Relays
from tests.support.rows import add_webhook, write_event
from tests.support.trials.outages import some_arrive
from tests.support.trials.trial import PATIENCE, StartTrial, Trial, trials
from tests.support.waiting import until

LEAPS = ["+1h", "+10d", "-1h", "-10d"]


@pytest.fixture
def wrong(environment: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Throwaway]:
    """A PostgreSQL whose clock can leap. Processes that the test starts find it."""
    with throwaway_server(monkeypatch, wrong_clock=True) as server:
        yield server


@pytest.fixture
async def database(wrong: Throwaway) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    connection = await asyncpg.connect(wrong.url, server_settings={"timezone": "UTC"})
    yield connection
    await connection.close(timeout=10)


@pytest.fixture
async def own_relays(
    wrong: Throwaway, database: "asyncpg.Connection[asyncpg.Record]", tmp_path: Path
) -> AsyncIterator[Relays]:
    relays = Relays(tmp_path, database)
    yield relays
    await relays.stop()


def _leap(server: Throwaway, offset: str) -> None:
    assert server.clock is not None
    server.clock.leap(offset)


async def test_what_was_put_off_while_the_servers_clock_was_ahead_does_not_wait_for_that_time(
    wrong: Throwaway, database: "asyncpg.Connection[asyncpg.Record]", own_relays: Relays, receiver: Receiver
) -> None:
    webhook = await add_webhook(
        database, load_settings(), receiver.url, ["item-created"], max_retries=20, retry_delay_ms=1000
    )
    await own_relays.start(2, RELAY_POLL_INTERVAL="500", WEBHOOK_BREAKER_DELAY="1000")
    receiver.answer = answering(503)
    _leap(wrong, "+10d")
    # One delivery is retried because it fails, the lane is paused, and its breaker opens.
    events = {str(await write_event(database)) for _ in range(4)}

    async def is_put_off() -> bool:
        return bool(
            await database.fetchval(
                "select exists (select from deliveries where attempts > 0 and next_attempt_at > now() - interval '1 day')"
                " and exists (select from receiver_health where paused_until is not null)"
            )
        )

    await until(is_put_off, "deliveries and their lane are put off")
    victim = await own_relays.follower()
    victim.send(signal.SIGKILL)
    await victim.ended()
    own_relays.started.remove(victim)
    _leap(wrong, NOW)
    receiver.answer = accept
    await receiver.wait_for(lambda: events <= set(receiver.ids()))
    await own_relays.idle()
    # A killed relay with a future time in its row is not treated as alive.
    await until(lambda: database.fetchval("select count(*) = 1 from relays"), "the killed relay is gone")
    assert await database.fetchval("select active from webhooks where id = $1", webhook.id)
    odd = "select exists (select from deliveries where next_attempt_at > now()) or exists (select from receiver_health where probe_at > now())"
    assert not await database.fetchval(odd)


@asynccontextmanager
async def _serving(clock: FakeClock) -> AsyncIterator[Server]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in clock.environment.items():
            patch.setenv(name, value)
        api = serving()
        server = await api.__aenter__()
    try:
        yield server
    finally:
        await api.__aexit__(None, None, None)


class Client:
    """A signed-in user of the API."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self.token = ""

    async def ask(self, method: str, path: str, **body: Any) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        async with self._session.request(method, f"/api/v1{path}", json=body or None, headers=headers) as answer:
            return answer.status, await answer.json()

    async def sign_in(self) -> str:
        status, body = await self.ask("POST", "/auth/login", username="boss", password=PASSWORD)
        assert status == 200, body
        return str(body["token"])


@pytest.mark.parametrize(
    "offset", ["+10d", *(pytest.param(offset, marks=pytest.mark.chaos) for offset in LEAPS if offset != "+10d")]
)
async def test_an_api_whose_clock_leaps_takes_writes_meanwhile_and_after(
    settings: object, connection: "asyncpg.Connection[asyncpg.Record]", tmp_path: Path, offset: str
) -> None:
    assert (await run(*BOSS, "--role", "admin", given=f"{PASSWORD}\n"))[0] == 0
    clock = FakeClock(tmp_path)
    tokens = []
    async with _serving(clock) as server, aiohttp.ClientSession(server.address) as session:
        client = Client(session)
        for number, now in enumerate((NOW, offset, NOW)):
            clock.leap(now)
            client.token = await client.sign_in()
            tokens.append(client.token)
            status, body = await client.ask("POST", "/items", name=f"Drill {number}")
            assert status == 201, body
    # Tokens also last as long as they should after a restart, and at another API process.
    clock.leap(offset)
    async with serving() as right, _serving(clock) as off:
        for server in (right, off):
            async with aiohttp.ClientSession(server.address) as session:
                client = Client(session)
                tokens.append(await client.sign_in())
        for server in (right, off):
            async with aiohttp.ClientSession(server.address) as session:
                client = Client(session)
                for client.token in tokens:
                    assert (await client.ask("GET", "/auth/profile"))[0] == 200
    wrong = await connection.fetchval(
        "select count(*) from outbox where abs(extract(epoch from occurred_at - written_at)) > 300"
        " or abs(extract(epoch from uuid_time(id) - written_at)) > 300"
    )
    assert wrong == 0
    assert not await connection.fetchval(
        "select exists (select from audit, unnest(event_ids) as e (id) where e.id not in (select id from outbox))"
    )


@pytest.fixture
def start_wrong_trial(request: pytest.FixtureRequest, wrong: Throwaway, tmp_path: Path) -> StartTrial:
    return trials(request, wrong.url, load_settings(), tmp_path)


async def _leaps_and_returns(trial: Trial, leap: Any, offset: str) -> None:
    for now in (offset, NOW):
        await some_arrive(trial)
        await trial.disturb_all()
        leap(now)
        trial.times += 1
        await trial.recovers()


async def _nothing_is_left(trial: Trial) -> None:
    """No row waits for a time that only the wrong clock has reached, and all relays beat by the
    right clock."""

    async def nothing_waits() -> bool:
        # Requests that were in flight when the clock leapt must be recorded first.
        return not await trial.db.fetchval(
            "select exists (select from deliveries where next_attempt_at > now() + interval '1 minute')"
            " or exists (select from receiver_health where greatest(probe_at, paused_until) > now() + interval '1 minute')"
        )

    await until(nothing_waits, "nothing waits for a time of the wrong clock", PATIENCE)

    async def beats() -> bool:
        rows = await trial.db.fetch(
            "select abs(extract(epoch from clock_timestamp() - seen_at)) < 10 as right from relays"
        )
        alive = [relay for relay in trial.relays.started if relay.exit_code is None]
        return [row["right"] for row in rows] == [True] * len(alive)

    await until(beats, "every relay that lives is listed, and no other", PATIENCE)


@pytest.mark.chaos
@pytest.mark.parametrize("offset", LEAPS)
async def test_the_servers_clock_leaps_under_load(start_wrong_trial: StartTrial, wrong: Throwaway, offset: str) -> None:
    async with start_wrong_trial(f"the server's clock {offset} and back") as trial:
        await trial.relays.start(2)
        trial.load.start()
        await _leaps_and_returns(trial, lambda now: _leap(wrong, now), offset)
        await _nothing_is_left(trial)


@pytest.mark.chaos
@pytest.mark.parametrize("offset", LEAPS)
async def test_the_servers_clock_leaps_over_a_restart(
    start_wrong_trial: StartTrial, wrong: Throwaway, offset: str
) -> None:
    async with start_wrong_trial(f"the server's clock {offset} and back over a restart") as trial:
        await trial.relays.start(2)
        trial.load.start()
        for now in (offset, NOW):
            await some_arrive(trial)
            await trial.disturb_all()
            victim = await trial.relays.follower()
            victim.send(signal.SIGKILL)
            await victim.ended()
            wrong.kill()
            _leap(wrong, now)
            await wrong.start_again()
            trial.times += 1
            await trial.relays.start(1)
            await trial.recovers()
        await _nothing_is_left(trial)


@pytest.mark.chaos
@pytest.mark.parametrize("offset", LEAPS)
async def test_a_relays_clock_leaps_under_load(start_trial: StartTrial, tmp_path: Path, offset: str) -> None:
    clock = FakeClock(tmp_path)
    async with start_trial(f"a relay's clock {offset} and back") as trial:
        trial.may_repeat = False
        await trial.relays.start(1, RELAY_CONCURRENCY="4")
        (relay,) = await trial.relays.start(1, RELAY_CONCURRENCY="4", **clock.environment)
        trial.load.start()
        for now in (offset, NOW):
            await some_arrive(trial)
            clock.leap(now)
            trial.times += 1
            await trial.recovers()
        assert relay.exit_code is None
        odd = "select count(*) from attempts where abs(extract(epoch from recorded_at - started_at)) > 60"
        assert await trial.db.fetchval(odd) == 0
