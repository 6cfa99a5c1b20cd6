"""vmapi under gunicorn on the cloud of `OS_CLOUD`."""

import os
import signal
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.support.http_client import HttpClient
from tests.support.live.api_response import ApiResponse
from tests.support.processes import Gunicorn

RESPONSE_TIMEOUT = 90.0
"""Seconds until a response: a loaded Nova takes long."""
CLOUD_PREFIXES = ("OS_", "OPENSTACK_")
"""The prefixes of the variables that name the cloud."""


class GunicornServer(Gunicorn):
    """A gunicorn that the scripts of the live tests send requests to."""

    stop_timeout = 60.0
    # its memory is measured
    is_forked = False

    @property
    def url(self) -> str:
        """The URL of the server, without a path."""
        return f"http://127.0.0.1:{self.port}"

    def send(
        self, method: str, path: str, body: Any, headers: Mapping[str, str] | None = None
    ) -> ApiResponse:
        """Send a request over a new connection."""
        started_at = time.monotonic()
        client = HttpClient(self.port, RESPONSE_TIMEOUT)
        response = client(method, path, body, headers=dict(headers or {}))
        is_json = "json" in response.headers.get("Content-Type", "")
        return ApiResponse(
            response.status,
            response.headers,
            response.json if is_json else None,
            response.body.decode(),
            time.monotonic() - started_at,
        )

    def terminate(self) -> None:
        """Send SIGTERM, for a graceful shutdown."""
        os.kill(self.pid, signal.SIGTERM)


@contextmanager
def serve_gunicorn(folder: Path, **settings: str) -> Iterator[GunicornServer]:
    """Run gunicorn for a `with` block."""
    defaults = {
        "VMAPI_BACKEND": "openstack",
        "VMAPI_AUTH": "none",
        "VMAPI_DATABASE_URL": f"sqlite:///{folder}/vmapi.sqlite3",
        "VMAPI_RATE_READS": "off",
        "VMAPI_RATE_CHANGES": "off",
        "VMAPI_RATE_ADDRESS": "off",
    }
    cloud = {name: value for name, value in os.environ.items() if name.startswith(CLOUD_PREFIXES)}
    server = GunicornServer(folder, **(cloud | defaults | settings))
    try:
        server.start().wait_for("/readyz")
        yield server
    finally:
        server.stop()


def open_connections(pid: int, url: str) -> set[str]:
    """Return the inodes of the open sockets that a process has to the service at a URL."""
    ends = urlsplit(url)
    remote = (
        f"{int.from_bytes(socket.inet_aton(ends.hostname or ''), 'little'):08X}:{ends.port:04X}"
    )
    links = []
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            links.append(descriptor.readlink().name)
        except FileNotFoundError:
            continue
    owned = {link[8:-1] for link in links if link.startswith("socket:[")}
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {line[9] for line in lines if line[2] == remote and line[3] == "01"} & owned
