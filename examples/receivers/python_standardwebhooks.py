"""An example receiver that leaves verification to the Standard Webhooks library.

    pip install standardwebhooks
    WEBHOOK_SECRET=whsec_... PORT=8080 python examples/receivers/python_standardwebhooks.py

It prints its address, and then one JSON line for each request. PORT=0, the default, takes a free
port.
"""

import json
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks import Webhook, WebhookVerificationError


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keeps connections open
    wbufsize = -1  # head and body of an answer leave in one packet
    printing = threading.Lock()

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        try:
            event = Webhook(key()).verify(raw, dict(self.headers))
        except WebhookVerificationError as error:
            self.answer(401, {"error": str(error)})
            return
        # Answer at once; the work begins after that. An event may come twice: its id says so.
        self.answer(200, {"received": True})
        with self.printing:
            print(json.dumps(event, ensure_ascii=False), flush=True)

    def answer(self, status: int, body: dict[str, object]) -> None:
        answer = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Nothing: the event is what is worth printing."""


def key() -> str | bytes:
    """The library decodes a text; a secret that does not begin with whsec_ is the key itself."""
    secret = os.environ["WEBHOOK_SECRET"]
    return secret if secret.startswith("whsec_") else secret.encode()


def main() -> None:
    if not os.environ.get("WEBHOOK_SECRET"):
        sys.exit("set WEBHOOK_SECRET to the secret that creating the webhook answered with")
    with ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "0"))), Receiver) as server:
        print(json.dumps({"listening": f"http://127.0.0.1:{server.server_address[1]}/"}), flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            pass


if __name__ == "__main__":
    main()
