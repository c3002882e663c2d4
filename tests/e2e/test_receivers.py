"""Receivers in other languages and libraries accept every delivery, with any text in it."""

import asyncio
import json
import sys
from typing import Any

import aiohttp
import pytest
from standardwebhooks import Webhook

from service.delivery.sign import new_secret
from tests.support.api_process import Api
from tests.support.programs import NODE_DIR, line_printer
from tests.support.receivers.receiver import Receiver, receiving
from tests.support.relay.processes import Relays

EVENTS = ["item-created", "item-updated", "item-deleted", "low-stock-alert"]
NAMES = (
    'Hydraulic “Pump” ½ 漢字 \u2028 "quoted" \\ </script>',
    r'Hydraulic “Pump” ½ 漢字 \u2028 "quoted" \\ </script>',
    "\u2029 line and paragraph \u2028 ends",
    "👷🏽‍♀️🏗️ 𐀀 beyond the basic plane",
    "مضخة هيدروليكية \u202eright to left\u202c",
    "Ångström e\u0301 and é, Z\u0335\u0349\u033e",
    "tab\tnewline\ncarriage\rbell\x07delete\x7fnext\x85",
    "\ufeffbyte order mark, \ufffe and \uffff",
    "__proto__",
    "漢" * 255,
    "𐀀" * 255,
)
ATTRIBUTES = {
    "smallest": -(2**63),
    "negative": -1,
    "beyond doubles": 2**63 - 1,
    "decimal": 1.50,
    "tiny": 5e-324,
    "10": "a key that JavaScript would move",
    "2": None,
    "__proto__": {"polluted": True},
    "key with “quotes” \u2028 and 🔧": [True, False, {"deep": [[]]}],
    "": "no key",
}


async def mutate(api: Api) -> int:
    """Creates, changes and deletes an item under every name. Returns the number of events."""
    for name in NAMES:
        item = await api.call(
            "POST", "/items", {"name": name, "sku": name[:100], "quantity": 2**31 - 1, "attributes": ATTRIBUTES}
        )
        path = f"/items/{item['id']}"
        await api.call("PUT", path, {"description": name, "attributes": {**ATTRIBUTES, "changed": name}})
        await api.call("PUT", path, {"name": name[::-1], "quantity": 0})
        await api.call("DELETE", path)
    # Created, updated twice, deleted, and one alert because no unit is left.
    return 5 * len(NAMES)


async def test_the_node_receiver_accepts_every_delivery(api: Api, relays: Relays, node: str) -> None:
    # The URL is set later, because the receiver needs the secret when it starts.
    webhook = await api.webhook("http://127.0.0.1:9/", EVENTS)
    async with line_printer(node, "examples/receivers/node_http.js", PORT="0", WEBHOOK_SECRET=webhook["secret"]) as (
        receiver,
        first,
    ):
        await api.call("PUT", f"/webhooks/{webhook['id']}", {"url": first["listening"]})
        expected = await mutate(api)
        lines = await read(receiver, expected)
    assert {line["status"] for line in lines} == {200}
    assert len({line["id"] for line in lines}) == expected
    assert {line["attempt"] for line in lines} == {1}
    created = [line["data"]["name"] for line in lines if line["eventType"] == "item-created"]
    assert sorted(created) == sorted(NAMES)


async def test_the_node_receiver_refuses_another_webhooks_secret(api: Api, relays: Relays, node: str) -> None:
    webhook = await api.webhook("http://127.0.0.1:9/", EVENTS, retryPolicy={"maxRetries": 0})
    another = await api.webhook("http://127.0.0.1:9/", ["item-checkin"])
    async with line_printer(node, "examples/receivers/node_http.js", PORT="0", WEBHOOK_SECRET=another["secret"]) as (
        receiver,
        first,
    ):
        await api.call("PUT", f"/webhooks/{webhook['id']}", {"url": first["listening"]})
        await api.call("POST", "/items", {"name": "Pump", "quantity": 9})
        (line,) = await read(receiver, 1)
    assert line["status"] == 401


@pytest.mark.parametrize(
    "program", ["node_http.js", "python_stdlib.py", "python_aiohttp.py", "python_standardwebhooks.py"]
)
async def test_the_receivers_refuse_what_nobody_signed_and_go_on(node: str, program: str) -> None:
    command = (node if program.endswith(".js") else sys.executable, f"examples/receivers/{program}")
    async with (
        line_printer(*command, PORT="0", WEBHOOK_SECRET=new_secret()) as (receiver, first),
        aiohttp.ClientSession() as session,
    ):
        for body in ("", "no JSON", "null", "[]", "5", "{}", '{"data":null}', '{"id":1,"data":{}}'):
            async with session.post(first["listening"], data=body, headers={"X-Webhook-ID": "x"}) as answer:
                assert answer.status in {400, 401}, body
        assert receiver.returncode is None


async def test_the_python_receivers_accept_every_delivery(api: Api, relays: Relays) -> None:
    own = await api.webhook("http://127.0.0.1:9/", EVENTS)
    library = await api.webhook("http://127.0.0.1:9/", EVENTS)
    started = (
        line_printer(sys.executable, "examples/receivers/python_stdlib.py", PORT="0", WEBHOOK_SECRET=own["secret"]),
        line_printer(
            sys.executable, "examples/receivers/python_standardwebhooks.py", PORT="0", WEBHOOK_SECRET=library["secret"]
        ),
    )
    async with started[0] as (first, at), started[1] as (second, at_second):
        await api.call("PUT", f"/webhooks/{own['id']}", {"url": at["listening"]})
        await api.call("PUT", f"/webhooks/{library['id']}", {"url": at_second["listening"]})
        expected = await mutate(api)
        reports = await read(first, expected)
        accepted = await read(second, expected)
    assert all(report["verified"] and report["answer"] == 200 and not report["duplicate"] for report in reports)
    assert {report["event"] for report in reports} == {event["id"] for event in accepted}
    assert len(accepted) == expected


async def test_the_aiohttp_receiver_accepts_every_delivery_and_no_other(api: Api, relays: Relays) -> None:
    webhook = await api.webhook("http://127.0.0.1:9/", EVENTS)
    another = await api.webhook("http://127.0.0.1:9/", ["item-created"], retryPolicy={"maxRetries": 0})
    program = "examples/receivers/python_aiohttp.py"
    async with line_printer(sys.executable, program, PORT="0", WEBHOOK_SECRET=webhook["secret"]) as (receiver, first):
        await api.call("PUT", f"/webhooks/{webhook['id']}", {"url": first["listening"]})
        await api.call("PUT", f"/webhooks/{another['id']}", {"url": first["listening"]})
        expected = await mutate(api)
        events = await read(receiver, expected)
        refused = await api.call("POST", f"/webhooks/{another['id']}/test")
    assert len({event["id"] for event in events}) == expected
    assert not any(event["duplicate"] for event in events)
    created = [event["data"]["name"] for event in events if event["eventType"] == "item-created"]
    assert sorted(created) == sorted(NAMES)
    assert refused["statusCode"] == 401


async def test_the_example_receiver_fails_first_attempts_on_request(api: Api, relays: Relays) -> None:
    webhook = await api.webhook("http://127.0.0.1:9/", EVENTS, retryPolicy={"maxRetries": 2, "retryDelay": 100})
    environment = {"PORT": "0", "WEBHOOK_SECRET": webhook["secret"], "FAIL_ONE_IN": "3"}
    async with line_printer(sys.executable, "examples/receivers/python_stdlib.py", **environment) as (receiver, first):
        await api.call("PUT", f"/webhooks/{webhook['id']}", {"url": first["listening"]})
        for number in range(9):
            await api.call("POST", "/items", {"name": f"Pump {number}", "quantity": 9})
        reports = await read(receiver, 12)
    failed = {report["event"]: report["answer"] for report in reports if report["answer"] != 200}
    assert sorted(map(str, failed.values())) == ["500", "503", "broken off"]
    retried = {report["event"] for report in reports if report["attempt"] == 2}
    assert retried == failed.keys()


async def test_the_published_libraries_accept_the_same_requests(
    api: Api, relays: Relays, node: str, standard_webhooks: None
) -> None:
    async with receiving() as receiver:
        webhook = await api.webhook(receiver.url, EVENTS, headers={"X-Custom": "kept"})
        expected = await mutate(api)
        await receiver.wait_for(lambda: len(set(receiver.ids())) == expected)
    for arrival in receiver.arrivals:
        Webhook(webhook["secret"]).verify(arrival.body, dict(arrival.headers))
        assert arrival.headers["X-Custom"] == "kept"
    verdicts = await verify_in_node(node, receiver, webhook["secret"])
    assert verdicts == [{"document": True, "standard": True}] * len(receiver.arrivals)
    # The receivers do check: they refuse the same requests under another secret.
    another = (await api.webhook("http://127.0.0.1:9/", EVENTS))["secret"]
    for verdict in await verify_in_node(node, receiver, another):
        assert verdict == {"document": False, "standard": "WebhookVerificationError: No matching signature found"}


async def verify_in_node(node: str, receiver: Receiver, secret: str) -> list[dict[str, Any]]:
    lines = [
        json.dumps(
            {
                "secret": secret,
                "headers": {name.lower(): value for name, value in arrival.headers.items()},
                "body": arrival.body.hex(),
            }
        )
        for arrival in receiver.arrivals
    ]
    process = await asyncio.create_subprocess_exec(
        node, "verify.js", cwd=NODE_DIR, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate("\n".join(lines).encode())
    assert process.returncode == 0
    return [json.loads(line) for line in output.splitlines()]


async def read(process: asyncio.subprocess.Process, lines: int) -> list[dict[str, Any]]:
    """Reads this many of the JSON lines that a receiver prints."""
    assert process.stdout is not None
    async with asyncio.timeout(60):
        return [json.loads(await process.stdout.readline()) for _ in range(lines)]
