"""vmapi under gunicorn with the production configuration: processes, log, shutdown."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests

from tests.support.live.api_response import ApiResponse
from tests.support.live.api_script import wait_for

ROOT = Path(__file__).parents[3]


@dataclass
class GunicornServer:
    """A running gunicorn."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path

    def send(
        self, method: str, path: str, body: Any, headers: Mapping[str, str] | None = None
    ) -> ApiResponse:
        """Send a request over a new connection."""
        started_at = time.monotonic()
        all_headers = {"Connection": "close", **(headers or {})}
        with requests.request(
            method, self.url + path, json=body, headers=all_headers, timeout=90
        ) as reply:
            is_json = "json" in reply.headers.get("Content-Type", "")
            content = reply.json() if is_json else None
        return ApiResponse(
            reply.status_code, reply.headers, content, reply.text, time.monotonic() - started_at
        )

    def worker_pids(self) -> list[int]:
        """Return the process ids of the gunicorn workers."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in children.read_text().split()]

    def terminate(self) -> None:
        """Send SIGTERM, for a graceful shutdown."""
        self.process.send_signal(signal.SIGTERM)

    def wait(self) -> int:
        """Wait for the exit and return the exit code."""
        return self.process.wait(timeout=60)


@contextmanager
def serve_gunicorn(folder: Path, **settings: str) -> Iterator[GunicornServer]:
    """Run gunicorn for a `with` block."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    log = folder / "gunicorn.log"
    environ = os.environ | {
        "VMAPI_BACKEND": "openstack",
        "VMAPI_AUTH": "none",
        "VMAPI_BIND": f"127.0.0.1:{port}",
        "VMAPI_DATABASE_URL": f"sqlite:///{folder}/vmapi.sqlite3",
        "VMAPI_RATE_READS": "off",
        "VMAPI_RATE_CHANGES": "off",
        "VMAPI_RATE_ADDRESS": "off",
    }
    command = [sys.executable, "-m", "gunicorn", "-c", "config/gunicorn.conf.py", "wsgi:app"]
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environ | settings, stdout=out, stderr=subprocess.STDOUT
        )
    server = GunicornServer(process, f"http://127.0.0.1:{port}", log)
    try:
        wait_for(lambda: process.poll() is not None or _ready(server), 30)
        assert process.poll() is None, log.read_text()
        yield server
    finally:
        if not _stops(server):
            process.kill()
            process.wait()


def _ready(server: GunicornServer) -> bool:
    try:
        return server.send("GET", "/readyz", None).status == 200
    except requests.ConnectionError:
        return False


def _stops(server: GunicornServer) -> bool:
    server.terminate()
    try:
        server.wait()
    except subprocess.TimeoutExpired:
        return False
    return True


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
