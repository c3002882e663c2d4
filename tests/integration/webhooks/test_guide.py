"""The statements and programs in docs/WEBHOOKS_GUIDE.md are correct."""

import asyncio
import json
import re
from datetime import UTC, datetime
from typing import Any, get_args
from uuid import UUID

import orjson
import pytest

from relay.send.envelope import Envelope, envelope
from relay.send.target import Target
from service.delivery import sign
from service.events.catalogue import CATALOGUE
from service.platform.ids import new_id
from service.webhooks.attempts import AttemptView
from service.webhooks.bodies import CreateWebhook
from service.webhooks.explain import ExplainedEvent, ExplainedWebhook, Explanation, FilteredView
from service.webhooks.reasons import ReasonName
from tests.support.guide import GUIDE, block, blocks
from tests.support.programs import SkipUnless

DATA = orjson.dumps({"name": 'Hydraulic “Pump” ½ 漢字 \u2028 "quoted" \\ </script>', "n": 2**53, "a": [None, True, {}]})

# A secret that was generated, and one that a receiver already had.
SECRETS = [sign.new_secret(), "what it had: abcdefghijklmnop"]


def _sent(secret: str, now: datetime) -> Envelope:
    target = Target(new_id(), 1, "https://example.org/", 3, 5000, 30000, secret=secret)
    return envelope(
        target,
        event_id=new_id(),
        event_type="item-created",
        data=DATA,
        occurred_at=now,
        attempt=1,
        timestamp=int(now.timestamp()),
    )


async def _node(node: str, script: str, argument: dict[str, Any]) -> Any:
    process = await asyncio.create_subprocess_exec(
        node, "-e", script, json.dumps(argument), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0
    return json.loads(output)


def test_every_type_of_event_is_in_the_guide() -> None:
    section = GUIDE[GUIDE.index("\n## Events\n") : GUIDE.index("\n## What a receiver gets\n")]
    named = {
        name for row in re.findall(r"^\| (`.*?) \|", section, re.MULTILINE) for name in re.findall(r"`(.+?)`", row)
    }
    assert named == set(CATALOGUE)


def test_the_examples_of_events_have_the_fields_of_their_types() -> None:
    examples = [json.loads(block) for block in blocks("json")]
    events = [example for example in examples if "eventType" in example]
    assert len(events) == 3
    for event in events:
        assert list(event) == ["id", "eventType", "data", "timestamp", "attempt"]
        assert list(event["data"]) == list(CATALOGUE[event["eventType"]].model_fields)
        assert UUID(event["id"]).version == 7


def test_the_example_of_a_schedule_is_taken() -> None:
    webhook = CreateWebhook.model_validate_json(block("json", '"schedule"'))
    assert webhook.retryPolicy is not None
    assert webhook.retryPolicy.schedule == [1000, 60_000, 3_600_000]


def test_the_explanation_has_the_fields_and_the_guide_the_reasons_that_there_are() -> None:
    example = json.loads(block("json", '"reason"'))
    assert list(example) == list(Explanation.__annotations__)
    assert list(example["event"]) == list(ExplainedEvent.__annotations__)
    assert list(example["webhook"]) == list(ExplainedWebhook.__annotations__)
    assert list(example["filter"]) == list(FilteredView.__annotations__)
    section = GUIDE[GUIDE.index("| reason |") : GUIDE.index("### `GET /webhooks/:id/stats`")]
    named = {
        name for row in re.findall(r"^\| (`.*?) \|", section, re.MULTILINE) for name in re.findall(r"`(.+?)`", row)
    }
    assert named == set(get_args(ReasonName))


def test_the_guide_names_each_field_of_an_attempt() -> None:
    section = GUIDE[GUIDE.index("| field of an attempt |") : GUIDE.index("### `GET /events/:id/explain")]
    named = [
        name for row in re.findall(r"^\| (`.*?) \|", section, re.MULTILINE) for name in re.findall(r"`(.+?)`", row)
    ]
    assert named == list(AttemptView.__annotations__)


@pytest.mark.parametrize("secret", SECRETS, ids=["made here", "kept"])
async def test_the_functions_for_node_tell_the_genuine_from_the_forged(skip_unless: SkipUnless, secret: str) -> None:
    node = skip_unless("node")
    sent = _sent(secret, datetime.now(UTC))
    body = sent.body.decode()
    headers = {name.lower(): value for name, value in sent.headers.items()}
    script = (
        block("javascript", "function verifyData")
        + block("javascript", "function verifyStandard").replace("const crypto = require('node:crypto');", "")
        + """
        const { body, headers, secret, forged, late } = JSON.parse(process.argv[1]);
        const signature = headers['x-webhook-signature'];
        const two = { ...headers, 'webhook-signature': 'v1,AAAA ' + headers['webhook-signature'] };
        console.log(JSON.stringify([
            verifyData(JSON.parse(body), signature, secret),
            verifyStandard(Buffer.from(body), headers, secret),
            verifyStandard(Buffer.from(body), two, secret),
            verifyData(JSON.parse(forged), signature, secret),
            verifyData(JSON.parse(body), undefined, secret),
            verifyData(JSON.parse(body), signature, secret + 'x'),
            verifyStandard(Buffer.from(forged), headers, secret),
            verifyStandard(Buffer.from(body), { ...headers, 'webhook-timestamp': late }, secret),
            verifyStandard(Buffer.from(body), {}, secret),
        ]));
        """
    )
    verdicts = await _node(
        node,
        script,
        {
            "body": body,
            "headers": headers,
            "secret": secret,
            "forged": body.replace("Pump", "Bump"),
            "late": str(int(headers["webhook-timestamp"]) - 400),
        },
    )
    assert verdicts == [True, True, True] + [False] * 6


async def test_the_handler_for_node_answers_200_to_the_genuine_and_401_to_the_forged(skip_unless: SkipUnless) -> None:
    node = skip_unless("node")
    secret = sign.new_secret()
    sent = _sent(secret, datetime.now(UTC))
    headers = {name.lower(): value for name, value in sent.headers.items()}
    script = (
        """
        const crypto = require('node:crypto');
        let handler;
        const app = { post: (path, parser, given) => { handler = given; } };
        const express = { json: () => null };
        const handleWebhookAsync = async () => {};
        """
        + block("javascript", "const expectedSig")
        + """
        const { body, forged, headers, secret } = JSON.parse(process.argv[1]);
        process.env.WEBHOOK_SECRET = secret;
        console.log(JSON.stringify([body, forged].map((text) => {
            let status = 200;
            const res = { status: (code) => { status = code; return res; }, json: () => res };
            handler({ headers, body: JSON.parse(text) }, res);
            return status;
        })));
        """
    )
    body = sent.body.decode()
    argument = {"body": body, "forged": body.replace("Pump", "Bump"), "headers": headers, "secret": secret}
    assert await _node(node, script, argument) == [200, 401]


def test_the_function_for_python_tells_the_genuine_from_the_forged() -> None:
    secret = sign.new_secret()
    sent = _sent(secret, datetime.now(UTC))
    names: dict[str, Any] = {}
    exec(block("python", "def verify_data"), names)  # the program is ours, from docs/
    verify_data = names["verify_data"]
    assert verify_data(sent.body, sent.headers["X-Webhook-Signature"], secret)
    assert not verify_data(sent.body.replace(b"Pump", b"Bump"), sent.headers["X-Webhook-Signature"], secret)
    assert not verify_data(sent.body, "", secret)
