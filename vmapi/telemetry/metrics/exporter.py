"""The HTTP server of `/metrics`, on an address that no proxy serves.

It answers one request at a time, in one thread: a scrape costs CPU time of the process. A client
that sends nothing is dropped after `CLIENT_TIMEOUT_SECONDS`.
"""

import socket
import threading
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, HTTPServer

import structlog

from vmapi.errors import SettingsError
from vmapi.telemetry.metrics.registry import MetricRegistry

log = structlog.get_logger("vmapi.metrics")

METRICS_PATH = "/metrics"

CLIENT_TIMEOUT_SECONDS = 2.0
"""Seconds for a client to send its request, and to read a part of the response."""

LISTEN_BACKLOG = 16

STOP_CHECK_SECONDS = 0.1
"""Seconds until an idle exporter notices that it is to stop."""


def open_listener(bind: str, setting_name: str, *, shares_port: bool = False) -> socket.socket:
    """Listen at HOST:PORT. Raises SettingsError if that is not possible.

    The socket does not block: several processes accept from it. With `shares_port` another server
    may listen there too: the one that this server replaces.
    """
    host, _, port = bind.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        if not shares_port:
            _bind(family, host, int(port), socket.SO_REUSEADDR).close()
        listener = _bind(family, host, int(port), socket.SO_REUSEADDR, socket.SO_REUSEPORT)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SettingsError(f"cannot serve at {bind} ({setting_name}): {reason}") from error
    listener.listen(LISTEN_BACKLOG)
    listener.setblocking(False)
    return listener


def _bind(family: int, host: str, port: int, *options: int) -> socket.socket:
    with ExitStack() as stack:
        bound = stack.enter_context(socket.socket(family))
        for option in options:
            bound.setsockopt(socket.SOL_SOCKET, option, 1)
        bound.bind((host, port))
        stack.pop_all()
    return bound


class MetricsExporter:
    """Serves the metrics of a registry on a listening socket, in a thread."""

    def __init__(self, listener: socket.socket, registry: MetricRegistry) -> None:
        self._server = ListenerServer(listener, registry)
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            args=(STOP_CHECK_SECONDS,),
            name="metrics",
            daemon=True,
        )

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread, and close the socket of this process."""
        self._server.shutdown()
        self._server.server_close()


class ListenerServer(HTTPServer):
    """An HTTP server on a socket that listens already."""

    def __init__(self, listener: socket.socket, registry: MetricRegistry) -> None:
        super().__init__(listener.getsockname()[:2], MetricsHandler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.registry = registry

    def handle_error(self, *_: object) -> None:
        """Log a connection that failed: the client has disconnected, or was too slow."""
        log.debug("metrics not sent", exc_info=True)


class MetricsHandler(BaseHTTPRequestHandler):
    """The handler of one connection, for one request."""

    server: ListenerServer
    timeout = CLIENT_TIMEOUT_SECONDS
    server_version, sys_version = "vmapi", ""

    def do_GET(self) -> None:
        """Respond to a scrape, in the format that the client accepts."""
        if self.path.partition("?")[0] != METRICS_PATH:
            self.send_error(404, explain=f"Metrics are at {METRICS_PATH}.")
            return
        try:
            content, content_type = self.server.registry.encode(self.headers.get("Accept", ""))
        except Exception:
            log.exception("metrics could not be collected")
            self.send_error(500, explain="The log has the reason.")
            return
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Log nothing: Prometheus sends a request every few seconds."""
