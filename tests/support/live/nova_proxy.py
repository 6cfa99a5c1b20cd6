"""A proxy in front of Nova that injects faults, and a clouds.yaml that leads to the proxy."""

import http.client
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any
from urllib.parse import urlsplit

from openstack.config import OpenStackConfig

from tests.support.loopback_server import LoopbackHandler, run_server

IMPATIENT_TIMEOUT = 5.0
"""The backend timeout, in seconds, of a vmapi that is to time out soon.

Nova responds within it on a loaded machine too.
"""
HOP_BY_HOP = ("connection", "content-length", "keep-alive", "transfer-encoding")


@dataclass(frozen=True)
class ProxyReply:
    """A reply of the cloud or of a test; a truncated one ends in the middle of its body."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "application/json"),)
    is_truncated: bool = False


@dataclass
class ProxyFault:
    """A fault for the requests that match, for a `with` block.

    A forwarded request reaches the cloud, after `run_before`. Its response is the cloud's, or the
    result of `transform`. A lost response resets the connection at once; a stalled one resets it
    after the `with` block.
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
        """Return whether the fault concerns a request."""
        match = re.search(self.path, path.partition("?")[0])
        return self.method == method and match is not None and self.body_contains in body


class NovaProxy:
    """Forwards all requests to `target`; `token` is the token of the last request."""

    def __init__(self, target: str) -> None:
        self.target = urlsplit(target)
        self.faults: list[ProxyFault] = []
        self.token = ""
        self.url = ""

    @contextmanager
    def inject_fault(self, method: str, path: str, **options: Any) -> Iterator[ProxyFault]:
        """Inject a fault for a `with` block; `options` are the fields of `ProxyFault`."""
        fault = ProxyFault(method, path, **options)
        self.faults.append(fault)
        try:
            yield fault
        finally:
            self.faults.remove(fault)
            fault.removed.set()

    def forward(self, method: str, path: str, headers: dict[str, str], body: bytes) -> ProxyReply:
        """Forward a request, and return the reply of the cloud."""
        secure = self.target.scheme == "https"
        connection_class = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        cloud = connection_class(self.target.netloc, timeout=60)
        try:
            cloud.request(method, path, body, headers | {"Connection": "close"})
            reply = cloud.getresponse()
            forwarded_headers = (
                (k, v) for k, v in reply.getheaders() if k.lower() not in HOP_BY_HOP
            )
            return ProxyReply(reply.status, reply.read(), tuple(forwarded_headers))
        finally:
            cloud.close()


def write_clouds_file(folder: Path, cloud: str, auth: dict[str, str], **changed: str) -> str:
    """Write a copy of clouds.yaml with changed members, and return its path."""
    config = OpenStackConfig().cloud_config["clouds"][cloud]
    merged = config | changed | {"auth": config["auth"] | auth}
    file = folder / "clouds.yaml"
    file.write_text(json.dumps({"clouds": {cloud: merged}}))
    return str(file)


def _unchanged(reply: ProxyReply) -> ProxyReply:
    return reply


class Handler(LoopbackHandler):
    """Serves one connection; a subclass sets `proxy`."""

    proxy: NovaProxy

    def handle_any(self) -> None:
        body = self.read_body()
        self.proxy.token = self.headers.get("X-Auth-Token", self.proxy.token)
        matching = (
            fault for fault in self.proxy.faults if fault.matches(self.command, self.path, body)
        )
        reply = self.get_reply(next(matching, None), body)
        if reply is None:
            self.reset()
        else:
            self.send_reply(reply.status, reply.headers, reply.body, truncate=reply.is_truncated)

    def get_reply(self, fault: ProxyFault | None, body: bytes) -> ProxyReply | None:
        """Return the reply, or None to reset the connection."""
        fault = fault or ProxyFault(self.command, "")
        fault.match_count += 1
        fault.run_before()
        reply = ProxyReply(200)
        if fault.is_forwarded:
            headers = {k: v for k, v in self.headers.items() if k.lower() not in HOP_BY_HOP}
            try:
                reply = self.proxy.forward(self.command, self.path, headers, body)
            except (OSError, http.client.HTTPException):
                # another program has stopped the cloud
                return None
        if fault.is_stalled:
            fault.removed.wait(60)
        return None if fault.is_lost or fault.is_stalled else (fault.transform or _unchanged)(reply)


@contextmanager
def serve_proxy(target: str) -> Iterator[NovaProxy]:
    """Run the proxy on a free loopback port for a `with` block."""
    proxy = NovaProxy(target)
    with run_server() as server:
        server.RequestHandlerClass = type("Bound", (Handler,), {"proxy": proxy})
        proxy.url = f"{server.url}{proxy.target.path}"
        yield proxy
