"""A proxy in front of Nova that loses answers, and a clouds.yaml whose Nova is that proxy."""

import http.client
import json
import re
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any
from urllib.parse import urlsplit

from openstack.config import OpenStackConfig

IMPATIENT_TIMEOUT = 3.0
"""Seconds after which an answer is lost to a vmapi behind the proxy."""
HOP_BY_HOP = ("connection", "content-length", "keep-alive", "transfer-encoding")


@dataclass(frozen=True)
class ProxyReply:
    """An answer of the cloud, or one that is made up; `half` of it, or all."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "application/json"),)
    is_truncated: bool = False


@dataclass
class ProxyFault:
    """What becomes of the requests that fit, while the block lasts. `seen` counts them.

    One is handed on to the cloud if it is to `arrive`, after something else has been done `before`.
    Its answer is the cloud's own, that which `spoil` makes of it, or is lost: the connection is
    broken off at once, or after the block if the answer is to `stall`.
    """

    method: str
    path: str
    body_contains: bytes = b""
    is_forwarded: bool = True
    run_before: Callable[[], object] = lambda: None
    transform: Callable[[ProxyReply], ProxyReply] | None = None
    is_lost: bool = False
    is_stalled: bool = False
    match_count: int = 0
    removed: Event = field(default_factory=Event)

    def matches(self, method: str, path: str, body: bytes) -> bool:
        """Tell whether a request is to be troubled."""
        there = re.search(self.path, path.partition("?")[0])
        return self.method == method and there is not None and self.body_contains in body


class NovaProxy:
    """Hands everything on to `target`; `token` is the last one that came by."""

    def __init__(self, target: str) -> None:
        self.target = urlsplit(target)
        self.faults: list[ProxyFault] = []
        self.token = ""
        self.url = ""

    @contextmanager
    def inject_fault(self, method: str, path: str, **how: Any) -> Iterator[ProxyFault]:
        """Make trouble while the block lasts."""
        fault = ProxyFault(method, path, **how)
        self.faults.append(fault)
        try:
            yield fault
        finally:
            self.faults.remove(fault)
            fault.removed.set()

    def forward(self, method: str, path: str, headers: dict[str, str], body: bytes) -> ProxyReply:
        """Return what the cloud answers."""
        secure = self.target.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        cloud = kind(self.target.netloc, timeout=60)
        try:
            cloud.request(method, path, body, headers | {"Connection": "close"})
            reply = cloud.getresponse()
            kept = ((k, v) for k, v in reply.getheaders() if k.lower() not in HOP_BY_HOP)
            return ProxyReply(reply.status, reply.read(), tuple(kept))
        finally:
            cloud.close()


def write_clouds_file(folder: Path, cloud: str, auth: dict[str, str], **changed: str) -> str:
    """Write a clouds.yaml in which some things are other than in the present one."""
    found = OpenStackConfig().cloud_config["clouds"][cloud]
    merged = found | changed | {"auth": found["auth"] | auth}
    file = folder / "clouds.yaml"
    file.write_text(json.dumps({"clouds": {cloud: merged}}))
    return str(file)


def _as_it_is(reply: ProxyReply) -> ProxyReply:
    return reply


class Handler(BaseHTTPRequestHandler):
    """Serves one connection; `proxy` is set in a subclass."""

    proxy: NovaProxy
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.proxy.token = self.headers.get("X-Auth-Token", self.proxy.token)
        fitting = (
            each for each in self.proxy.faults if each.matches(self.command, self.path, body)
        )
        reply = self.get_reply(next(fitting, None), body)
        if reply is None:
            self.reset()
        else:
            self.send_reply(reply)

    do_GET = do_POST = do_PUT = do_DELETE = handle_any

    def get_reply(self, fault: ProxyFault | None, body: bytes) -> ProxyReply | None:
        """Return what to answer, None for nothing at all."""
        fault = fault or ProxyFault(self.command, "")
        fault.match_count += 1
        fault.run_before()
        reply = ProxyReply(200)
        if fault.is_forwarded:
            headers = {k: v for k, v in self.headers.items() if k.lower() not in HOP_BY_HOP}
            reply = self.proxy.forward(self.command, self.path, headers, body)
        if fault.is_stalled:
            fault.removed.wait(60)
        return None if fault.is_lost or fault.is_stalled else (fault.transform or _as_it_is)(reply)

    def reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def send_reply(self, reply: ProxyReply) -> None:
        self.send_response(reply.status)
        for name, text in (*reply.headers, ("Content-Length", str(len(reply.body)))):
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(reply.body[: len(reply.body) // 2] if reply.is_truncated else reply.body)
        self.close_connection = self.close_connection or reply.is_truncated

    def log_message(self, *args: Any) -> None:
        """Keep the tests quiet."""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


@contextmanager
def serve_proxy(target: str) -> Iterator[NovaProxy]:
    """Serve on a free port of loopback while the block lasts."""
    proxy = NovaProxy(target)
    server = Server(("127.0.0.1", 0), type("Bound", (Handler,), {"proxy": proxy}))
    proxy.url = f"http://127.0.0.1:{server.server_port}{proxy.target.path}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
