"""Run a fake OpenStack on loopback: `python -m bench.standin`. The program prints its URL.

By default responses cost next to nothing, except for a delay of `--latency` seconds in Nova. With
`--servers`, Nova has many servers, changes `--churn` of them a second, and has the response times
of a real Nova unless `--delays` says otherwise. It needs no package of the tests, as the benchmark
may use any environment of vmapi.
"""

import argparse
import json
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from bench.large_nova import LargeNova
from bench.nova import IMAGES, NETWORK, SharedNova, SimulatedNova

Json = dict[str, Any]
FOREVER = "2999-01-01T00:00:00.000000Z"


@contextmanager
def fake_openstack(*options: str) -> Iterator[str]:
    """Run the fake OpenStack in another process during the block; yield the URL."""
    command = (sys.executable, "-m", "bench.standin", *options)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


class Handler(BaseHTTPRequestHandler):
    """The handler of one connection; a subclass sets `nova`, `url` and `latency`."""

    nova: SimulatedNova | LargeNova
    url: str
    latency: float
    protocol_version = "HTTP/1.1"
    # otherwise the body waits until the client acknowledges the headers
    disable_nagle_algorithm = True

    def handle_any(self) -> None:
        """Respond to one request."""
        text = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = json.loads(text) if text else None
        request_id = f"req-{uuid.uuid4()}"
        _, service, _version, *rest = self.path.split("/", 3)
        if service == "compute" and rest:
            time.sleep(self.latency)
            status, content = self.nova.handle(self.command, rest[0], body, request_id)
        else:
            status, content = other_service(self.url, self.path.partition("?")[0])
        self.send_response(status)
        data = b"" if content is None else json.dumps(content).encode()
        self.send_header("X-Openstack-Request-Id", request_id)
        self.send_header("X-Subject-Token", "token")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PUT = do_DELETE = handle_any

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


def other_service(url: str, path: str) -> tuple[int, Json]:
    """Return the response of Keystone, Glance or Neutron, or a version page."""
    match path.strip("/").split("/"):
        case "identity", "v3", *tokens:
            return (201, {"token": token(url)}) if tokens else (200, version(url, path, "v3.14"))
        case "compute", "v2.1":
            return 200, version(url, path, "v2.1", "2.96")
        case "image", "v2", *images:
            return 200, {"images": [*IMAGES.values()]} if images else version(url, path, "v2.9")
        case "network", "v2.0", *networks:
            return 200, {"networks": [NETWORK]} if networks else version(url, path, "v2.0")
    return 404, {}


def version(url: str, path: str, number: str, newest: str = "") -> Json:
    """Return the version document of a service."""
    about = {"id": number, "status": "CURRENT", "version": newest, "min_version": newest and "2.1"}
    return {"version": {**about, "links": [{"rel": "self", "href": f"{url}{path.rstrip('/')}/"}]}}


def token(url: str) -> Json:
    """Return a token that does not expire."""
    paths = {"compute": "compute/v2.1", "image": "image/v2", "network": "network"}
    domain = {"id": "default", "name": "Default"}
    endpoint = {"interface": "public", "region": "R"}
    return {
        "expires_at": FOREVER,
        "issued_at": "2026-01-01T00:00:00.000000Z",
        "methods": ["password"],
        "project": {"id": "p", "name": "p", "domain": domain},
        "user": {"id": "u", "name": "u", "domain": domain},
        "catalog": [
            {"type": kind, "endpoints": [{**endpoint, "id": kind, "url": f"{url}/{path}"}]}
            for kind, path in paths.items()
        ],
    }


def build_nova(options: argparse.Namespace) -> SimulatedNova | LargeNova:
    """Return the Nova of the options."""
    if not options.servers:
        return (SharedNova if options.shared else SimulatedNova)(options.active)
    return LargeNova(
        options.servers,
        options.churn,
        delays=frozenset({"changes", "lists"} if options.delays == "all" else {options.delays}),
        varied=options.varied,
    )


def main(options: argparse.Namespace) -> None:
    """Serve until the process is terminated."""
    httpd = ThreadingHTTPServer(("127.0.0.1", options.port), BaseHTTPRequestHandler)
    nova = build_nova(options)
    url = f"http://127.0.0.1:{httpd.server_port}"
    about = {"nova": nova, "latency": options.latency, "url": url}
    httpd.RequestHandlerClass = type("Bound", (Handler,), about)
    print(url, flush=True)
    httpd.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="bench.standin")
    parser.add_argument("--port", type=int, default=0, help="default: any free port")
    parser.add_argument("--latency", type=float, default=0.0)
    parser.add_argument("--servers", type=int, default=0)
    parser.add_argument("--active", type=int, default=0, help="servers that clients can change")
    parser.add_argument("--shared", action="store_true", help="several pollers see each change")
    parser.add_argument("--churn", type=float, default=0.0, help="changes a second")
    parser.add_argument(
        "--delays",
        choices=("all", "changes", "none"),
        default="all",
        help="the responses with the duration of a real Nova: all, lists of changes, or none",
    )
    parser.add_argument(
        "--varied", action="store_true", help="servers with different statuses, names and times"
    )
    main(parser.parse_args())
