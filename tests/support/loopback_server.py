"""An HTTP server on loopback that can break its responses, for the fakes and proxies of tests."""

import socket
import ssl
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class LoopbackHandler(BaseHTTPRequestHandler):
    """Serves one connection; a subclass implements `handle_any`."""

    protocol_version = "HTTP/1.1"
    # head and body of a response are two packets: do not wait 40 ms for an ACK of the first
    disable_nagle_algorithm = True

    def handle_any(self) -> None:
        """Respond to a request of any method."""
        raise NotImplementedError

    def do_GET(self) -> None:
        """Respond to a GET."""
        self.handle_any()

    do_POST = do_PUT = do_DELETE = do_GET

    def read_body(self) -> bytes:
        """Read the body of the request."""
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def reset(self) -> None:
        """Reset the connection without a response."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        self.connection.close()
        self.close_connection = True

    def send_reply(
        self, status: int, headers: Iterable[tuple[str, str]], body: bytes, *, truncate: bool
    ) -> None:
        """Send a response. With `truncate` the connection closes in the middle of the body."""
        self.send_response_only(status)
        sent = [*headers, ("Content-Length", str(len(body)))]
        if all(name != "Date" for name, _ in sent):
            sent.append(("Date", self.date_time_string()))
        for name, text in sent:
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if truncate else body)
        self.close_connection = self.close_connection or truncate

    def log_message(self, *args: Any) -> None:
        """Log nothing."""


class LoopbackServer(ThreadingHTTPServer):
    """Serves each connection in a thread, and closes all connections when it stops."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(address, handler)
        self._connections: list[socket.socket] = []

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection, and remember it."""
        self._connections.append(request)
        super().process_request(request, client_address)

    def server_close(self) -> None:
        """Stop listening and close the connections, idle ones too."""
        super().server_close()
        for connection in self._connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    @property
    def url(self) -> str:
        """The URL of the server, without a path."""
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def run_server(tls: ssl.SSLContext | None = None) -> Iterator[LoopbackServer]:
    """Serve on a free port; set `RequestHandlerClass` before the first request."""
    server = LoopbackServer(("127.0.0.1", 0), LoopbackHandler)
    if tls is not None:
        # before the thread, which reads the descriptor of the socket once
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
