"""An HTTP proxy that loses, truncates and repeats every third request, in turn."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from threading import Lock

from tests.support.http_client import HttpClient, HttpResponse
from tests.support.loopback_server import LoopbackHandler, run_server

HOP_HEADERS = ("connection", "content-length", "date", "transfer-encoding")
DISRUPTIONS = (
    "lost request",
    "lost response",
    "truncated",
    "repeated",
    "bad gateway",
    "gateway timeout",
)
DISRUPTED_SHARE = 3
"""One request of so many is disrupted."""


class UnreliableProxy:
    """The disruptions of a proxy in front of a port."""

    def __init__(self, port: int) -> None:
        self.upstream = HttpClient(port)
        self.counts: Counter[str] = Counter()
        plain = [""] * (DISRUPTED_SHARE - 1)
        self._turns = cycle([turn for name in DISRUPTIONS for turn in (*plain, name)])
        self._lock = Lock()

    def draw(self) -> str:
        """Return the disruption of the next request; empty for none."""
        with self._lock:
            disruption = next(self._turns)
            self.counts[disruption] += 1
            return disruption


class UnreliableHandler(LoopbackHandler):
    """Forwards a request, or disrupts it."""

    proxy: UnreliableProxy

    def handle_any(self) -> None:
        """Forward a request with its disruption."""
        body = self.read_body()
        disruption = self.proxy.draw()
        if disruption == "lost request":
            self.reset()
            return
        response = self.forward(body)
        if disruption == "repeated":
            response = self.forward(body)
        if disruption == "lost response":
            self.reset()
        elif disruption == "bad gateway":
            self.send_reply(502, [("Content-Type", "text/html")], b"<html>", truncate=False)
        elif disruption == "gateway timeout":
            self.send_reply(504, [], b"", truncate=False)
        else:
            self.send_back(response, truncate=disruption == "truncated")

    do_GET = do_POST = do_DELETE = do_PATCH = handle_any

    def forward(self, body: bytes) -> HttpResponse:
        """Send the request to the server."""
        headers = {n: v for n, v in self.headers.items() if n.lower() not in ("connection", "host")}
        return self.proxy.upstream(self.command, self.path, body=body or None, headers=headers)

    def send_back(self, response: HttpResponse, *, truncate: bool) -> None:
        """Send the response of the server to the client."""
        headers = [(n, v) for n, v in response.headers.items() if n.lower() not in HOP_HEADERS]
        if response.status in (204, 304):
            self.send_response_only(response.status)
            for name, value in headers:
                self.send_header(name, value)
            self.end_headers()
            return
        self.send_reply(response.status, headers, response.body, truncate=truncate)


@contextmanager
def run_unreliable_proxy(
    port: int, handler: type[UnreliableHandler] = UnreliableHandler
) -> Iterator[tuple[str, UnreliableProxy]]:
    """Start a proxy in front of a port."""
    proxy = UnreliableProxy(port)
    with run_server() as server:
        server.RequestHandlerClass = type("Handler", (handler,), {"proxy": proxy})
        yield server.url, proxy
