"""A TLS server that closes the socket without close_notify, which asyncio's servers cannot do."""

import asyncio
import socket
import ssl
import struct
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

PATIENCE = 30


class RudeServer:
    """Reads each request, sends `answer` and closes, with a RST if `reset` is set."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self._listener.getsockname()[1]}/hook"
        self.answer = b""
        self.reset = False
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        # Closing the socket alone would not wake the thread.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()

    def _serve(self) -> None:
        while True:
            try:
                accepted, _ = self._listener.accept()
            except OSError:
                return
            with suppress(OSError):
                self._answer(accepted)

    def _answer(self, accepted: socket.socket) -> None:
        accepted.settimeout(PATIENCE)
        # SSLSocket.close() sends no close_notify; only unwrap() does.
        with self._context.wrap_socket(accepted, server_side=True) as connection:
            request = b""
            while not request.endswith(b"{}"):
                request += connection.recv(65536)
            connection.sendall(self.answer)
            if self.reset:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@asynccontextmanager
async def rude_server(context: ssl.SSLContext) -> AsyncIterator[RudeServer]:
    server = RudeServer(context)
    server.start()
    try:
        yield server
    finally:
        await asyncio.to_thread(server.stop)
