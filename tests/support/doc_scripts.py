"""Run the scripts of the documentation, also against servers that are no vmapi."""

import os
import ssl
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

from tests.support.documentation import code_blocks, write_short_sleep
from tests.support.processes import ROOT, build_environment, require_program

SCRIPT_SECONDS = 150.0
"""Seconds for a script on a busy machine: it runs a dozen programs."""


class TruncatingHandler(BaseHTTPRequestHandler):
    """Breaks its first response off in the middle of the body."""

    BODY = b'{"name": "web-2"}'
    truncated_responses = 1

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(201)
        self.send_header("Content-Length", str(len(self.BODY)))
        self.end_headers()
        self.wfile.write(self.BODY[:5] if self.truncated_responses else self.BODY)
        type(self).truncated_responses = 0

    def do_GET(self) -> None:
        self.send_error(404)


class BusyHandler(BaseHTTPRequestHandler):
    """Asks a client to come back twice, and then refuses the request."""

    REFUSAL = b'{"detail": "refused at last"}'
    busy_responses = 2

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        is_busy = self.busy_responses > 0
        type(self).busy_responses -= 1
        self.send_response(503 if is_busy else 409)
        if is_busy:
            self.send_header("Retry-After", "1")
        self.send_header("Content-Length", str(len(self.REFUSAL)))
        self.end_headers()
        self.wfile.write(self.REFUSAL)


@contextmanager
def http_server(
    context: ssl.SSLContext | None = None,
    handler: type[BaseHTTPRequestHandler] = TruncatingHandler,
) -> Iterator[int]:
    """Serve on a port that is no vmapi."""
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server.server_port
        server.shutdown()


def start(folder: Path, *command: str, **settings: str) -> subprocess.Popen[str]:
    """Start a program that finds the other programs of the folder."""
    return subprocess.Popen(
        command,
        cwd=folder,
        env=script_environment(folder, settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def script_environment(folder: Path, settings: Mapping[str, str]) -> dict[str, str]:
    return build_environment(PATH=f"{folder}:{os.environ['PATH']}", **settings)


def run(
    folder: Path, *command: str, succeeds: bool | None = True, **settings: str
) -> subprocess.CompletedProcess[str]:
    """Run a program that must succeed, or must fail."""
    result = subprocess.run(
        command,
        cwd=folder,
        env=script_environment(folder, settings),
        capture_output=True,
        text=True,
        timeout=SCRIPT_SECONDS,
        check=False,
    )
    if succeeds is not None:
        assert (result.returncode == 0) == succeeds, (result.stdout, result.stderr)
    return result


def run_session(
    folder: Path, api: str, *, succeeds: bool = True, **settings: str
) -> subprocess.CompletedProcess[str]:
    """Run the session of the README in a shell that sleeps less."""
    require_program("curl", "curl")
    require_program("jq", "jq")
    (session,) = (block for block in code_blocks(ROOT / "README.md") if block.is_run)
    write_short_sleep(folder)
    return run(folder, "bash", "-c", session.text, succeeds=succeeds, API=api, **settings)


def api_url(port: int) -> str:
    return f"http://127.0.0.1:{port}/api/v1"
