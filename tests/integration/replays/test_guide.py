"""The statements and programs about replays and the stream in docs/WEBHOOKS_GUIDE.md are
correct."""

import asyncio
import json
import shlex
from typing import Any

import pytest

from service.webhooks.replays import Counted, Job, Request
from service.webhooks.stream import StreamEvent, StreamReply
from tests.support.api.caller import Api, Caller, SignUp
from tests.support.api.webhooks import make_webhook
from tests.support.guide import block
from tests.support.relay.replays import Leader


async def test_the_answers_shown_are_like_those_given(api: Api, sign_up: SignUp, leader: Leader) -> None:
    owner = Caller(api, await sign_up("worker"))
    webhook_id = (await make_webhook(owner))["id"]
    job = json.loads(block("json", '"job"'))["job"]
    assert set(job) == set(Job.__annotations__)
    assert set(job["request"]) == set(Request.__annotations__)
    assert set(json.loads(block("json", '"byType"'))) == set(Counted.__required_keys__)
    page = json.loads(block("json", '"signature"'))
    assert (list(page), list(page["events"][0])) == (
        list(StreamReply.__annotations__),
        list(StreamEvent.__annotations__),
    )

    command = shlex.split(block("bash", '"dryRun": true'))
    body = json.loads(command[command.index("-d") + 1])
    for dry, example, status in ((True, json.loads(block("json", '"byType"')), 200), (False, {"job": job}, 202)):
        answer = await owner.post(f"/webhooks/{webhook_id}/replay", {**body, "dryRun": dry})
        assert (answer.status, set(answer.body)) == (status, set(example))
    await leader.write_many(1)
    shown = (await owner.get(f"/webhooks/{webhook_id}/stream")).body
    assert (list(shown), list(shown["events"][0])) == (list(page), list(page["events"][0]))


async def test_the_receiver_that_fetches_gets_every_event_and_can_verify_it(
    api: Api, sign_up: SignUp, leader: Leader
) -> None:
    owner = Caller(api, await sign_up("worker"))
    webhook = await make_webhook(owner)
    names: dict[str, Any] = {}
    exec(block("python", "def verify_data"), names)  # the program is ours, from docs/
    exec(block("python", "def pull"), names)
    got: list[Any] = []

    class EnoughError(Exception):
        pass

    def handle(event: Any) -> None:
        assert names["verify_data"](json.dumps(event).encode(), event["signature"], webhook["secret"])
        got.append(event["position"])
        if len(got) == 4:
            raise EnoughError

    base = str(api.make_url("/api/v1"))
    await leader.write_many(2)
    pulling = asyncio.create_task(
        asyncio.to_thread(names["pull"], base, webhook["id"], owner.token, "earliest", handle)
    )
    async with asyncio.timeout(30):
        while len(got) < 2:
            await asyncio.sleep(0.01)
    await leader.write_many(2)
    with pytest.raises(EnoughError):
        await pulling
    assert got == ["1", "2", "3", "4"]
