"""A pipe as stdout: a reader that is slow or gone delays no request, and no line is lost."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from tests.support.http_client import WAIT_SECONDS, HttpClient
from tests.support.processes import ROOT, Gunicorn, build_environment

REQUEST_COUNT = 600
"""Their lines are more than the 64 KiB that a pipe holds."""


@pytest.fixture
def piped(
    gunicorn: Callable[..., Gunicorn],
) -> Iterator[tuple[HttpClient, subprocess.Popen[bytes]]]:
    """A server with a log pipe without a reader."""
    limits = {"VMAPI_RATE_READS": "off", "VMAPI_RATE_ADDRESS": "off"}
    server = gunicorn(**limits)
    config = str(ROOT / "config/gunicorn.conf.py")
    server.process = subprocess.Popen(
        (sys.executable, "-m", "gunicorn", "-c", config, "wsgi:app"),
        env=build_environment(**server.settings),
        cwd=server.directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    server.log.touch()
    server.wait_for("/livez")
    yield server.call, server.process
    assert server.process.stdout is not None
    server.process.stdout.close()


def test_unread_log_delays_no_request_and_loses_no_line(
    piped: tuple[HttpClient, "subprocess.Popen[bytes]"],
) -> None:
    call, process = piped
    for number in range(REQUEST_COUNT):
        assert call("GET", f"/api/v1/vms?page={number + 1}&page_size=1").status == 200
    process.terminate()
    output, _ = process.communicate(timeout=WAIT_SECONDS)
    lines = [json.loads(line) for line in output.splitlines()]
    requests = [line for line in lines if line.get("endpoint") == "GET /api/v1/vms"]
    assert len(requests) == REQUEST_COUNT
    assert lines[-1]["message"] == "Shutting down: Master"
    assert process.returncode == 0


def test_closed_log_pipe_delays_no_request(
    piped: tuple[HttpClient, "subprocess.Popen[bytes]"],
) -> None:
    call, process = piped
    assert process.stdout is not None
    process.stdout.close()
    for _ in range(20):
        assert call("GET", "/api/v1/vms").status == 200
