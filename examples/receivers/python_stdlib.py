"""An example receiver. It verifies both signatures of each delivery, and prints one JSON line for
each request. It needs only Python's standard library:

    WEBHOOK_SECRET=whsec_... PORT=8080 python examples/receivers/python_stdlib.py

Then create a webhook whose url is http://127.0.0.1:8080/. The answer contains the secret. Start the
relay with WEBHOOK_ALLOWED_NETWORKS=127.0.0.0/8, because it refuses private addresses that this
setting does not list.

    WEBHOOK_SECRET        The secret. There may be several, separated by white space: for several
                          webhooks, or while one is rotated.

    WEBHOOK_SECRETS_FILE  Instead, a file with the secrets. It is read at every request, so a new
                          secret counts at once.

    PORT                  The port. 0, the default, takes a free one, and the first line that is
                          printed says which.

    FAIL_ONE_IN           Fail one in so many first attempts on purpose, to see retries. 0, the
                          default, fails none.
"""

import base64
import hashlib
import hmac
import json
import os
import threading
import time
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

TOLERANCE_SECONDS = 300
FAILURES = (503, 500, "broken off")


def secrets() -> list[str]:
    file = os.environ.get("WEBHOOK_SECRETS_FILE")
    return (Path(file).read_text(encoding="utf-8") if file else os.environ.get("WEBHOOK_SECRET", "")).split()


def verify_data(secret: str, headers: Any, body: dict[str, Any]) -> bool:
    """The signature in X-Webhook-Signature, over `data` alone, as JSON.stringify of JavaScript
    writes it. The key is the whole secret."""
    data = json.dumps(body["data"], separators=(",", ":"), ensure_ascii=False)
    expected = hmac.new(secret.encode(), data.encode(), hashlib.sha256).hexdigest()
    return hmac.compare_digest(headers.get("X-Webhook-Signature", "").encode(), expected.encode())


def verify_standard(secret: str, headers: Any, raw: bytes) -> bool:
    """The signature of Standard Webhooks, over id, time and the whole body.

    The key is the secret. If the secret begins with whsec_, the key is the decoded base64 after it.
    """
    key = base64.b64decode(secret[6:]) if secret.startswith("whsec_") else secret.encode()
    stamp = headers.get("webhook-timestamp", "")
    # Refuse an old request, which somebody may have recorded and sent again.
    if not stamp.isdecimal() or abs(time.time() - int(stamp)) > TOLERANCE_SECONDS:
        return False
    signed = f"{headers.get('webhook-id', '')}.{stamp}.".encode() + raw
    expected = "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    # While a secret is rotated, there are two signatures, separated by a space.
    given = headers.get("webhook-signature", "").split()
    return any(hmac.compare_digest(one.encode(), expected.encode()) for one in given)


class Failing:
    """Chooses the first attempts to fail: every n-th, each time in another way."""

    def __init__(self, one_in: int) -> None:
        self._one_in = one_in
        self._count = 0
        self._lock = threading.Lock()

    def next(self, attempt: int) -> "int | str | None":
        if self._one_in == 0 or attempt != 1:
            return None
        with self._lock:
            self._count += 1
            turn, place = divmod(self._count, self._one_in)
        return FAILURES[turn % len(FAILURES)] if place == self._one_in // 2 else None


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keeps connections open
    wbufsize = -1  # head and body of an answer leave in one packet
    failing = Failing(int(os.environ.get("FAIL_ONE_IN", "0")))
    processed: ClassVar[set[tuple[str, str]]] = set()
    lock = threading.Lock()

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        received = time.time()
        webhook = self.headers.get("X-Webhook-ID", "")
        # Verify before anything else, such as parsing the body. Anybody may send anything here.
        signed_with = [one for one in secrets() if verify_standard(one, self.headers, raw)]
        if not signed_with:
            self.answer({"path": self.path, "webhook": webhook, "verified": False}, 401)
            return
        body = json.loads(raw)
        report = {
            "path": self.path,
            "webhook": webhook,
            "event": body["id"],
            "type": body["eventType"],
            "about": body["data"].get("name") or body["data"].get("username"),
            "attempt": body["attempt"],
            "latencyMs": round((received - datetime.fromisoformat(body["timestamp"]).timestamp()) * 1000, 1),
            "verified": any(verify_data(one, self.headers, body) for one in signed_with),
        }
        if not report["verified"]:
            self.answer(report, 401)
        elif failure := self.failing.next(body["attempt"]):
            self.fail(report, failure)
        else:
            # An event may arrive twice, with the same id. Answer 2xx again, and do the work once.
            with self.lock:
                report["duplicate"] = (webhook, body["id"]) in self.processed
                self.processed.add((webhook, body["id"]))
            self.answer(report, 200)

    def answer(self, report: dict[str, Any], status: int) -> None:
        answer = json.dumps({"received": status == 200}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)
        say(report | {"answer": status})

    def fail(self, report: dict[str, Any], failure: "int | str") -> None:
        """Answer with a status, or break the answer off."""
        if isinstance(failure, int):
            self.answer(report, failure)
            return
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b"{")
        self.wfile.flush()
        time.sleep(0.3)
        self.close_connection = True
        say(report | {"answer": failure})

    def log_message(self, *_: object) -> None:
        """Does nothing. say() prints each request."""


_printing = threading.Lock()


def say(line: dict[str, Any]) -> None:
    with _printing:
        print(json.dumps(line, ensure_ascii=False), flush=True)


def main() -> None:
    ThreadingHTTPServer.request_queue_size = 128
    with ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "0"))), Receiver) as server:
        say({"listening": f"http://127.0.0.1:{server.server_address[1]}/"})
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            pass


if __name__ == "__main__":
    main()
