"""The log: one JSON object per line, no forged lines, no secrets."""

import json
import os
import pty
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from urllib.parse import quote

import pytest

from tests.support.factories import GENERATED_REQUEST_ID
from tests.support.gateways import Nginx
from tests.support.http_client import WAIT_SECONDS, HttpClient, send_raw, wait_until
from tests.support.processes import ROOT, Gunicorn, build_environment

VMS = "/api/v1/vms"
CREATE_BODY = {"name": "log-1", "flavor": "m1.tiny", "image": "cirros"}
FORGED_LINE = '{"level":"error","message":"forged"}'
LINE_ENDS = ["\n", "\x0b", "\x0c", "\x1b[31m", "\x1c", "\x7f", "\x85", "\u2028", "\u2029", "\u202e"]
REQUEST_LINE_MEMBERS = {
    *("timestamp", "level", "logger", "message", "request_id", "user"),
    *("endpoint", "vm_id", "status", "duration_ms"),
}


def test_request_is_logged(front: Nginx, cloud: Gunicorn) -> None:
    answer = front.call("GET", f"{VMS}?name=a*", headers={"X-Request-ID": "client.id:1"})
    assert answer.headers["X-Request-ID"] == "client.id:1"
    line = cloud.wait_for_line(request_id="client.id:1")
    assert set(line) == REQUEST_LINE_MEMBERS
    assert (line["level"], line["message"]) == ("info", "request")
    assert (line["user"], line["vm_id"]) == ("anonymous", None)
    assert (line["endpoint"], line["status"]) == (f"GET {VMS}", 200)
    assert 0 < line["duration_ms"] < 10_000
    logged_at = datetime.fromisoformat(line["timestamp"])
    assert line["timestamp"].endswith("Z")
    assert abs(datetime.now(logged_at.tzinfo) - logged_at) < timedelta(minutes=1)


@pytest.mark.parametrize("sent", ["", "-begins-badly", "a b", "x" * 129, "a\x1b[31m", "a\xe9"])
def test_malformed_request_id_is_replaced(front: Nginx, cloud: Gunicorn, sent: str) -> None:
    for call in (front.call, cloud.call):
        answer = call("GET", "/livez", headers={"X-Request-ID": sent})
        request_id = answer.headers["X-Request-ID"]
        assert GENERATED_REQUEST_ID.fullmatch(request_id)
        assert cloud.wait_for_line(request_id=request_id)


def test_background_work_is_logged_with_the_request_id(call: HttpClient, cloud: Gunicorn) -> None:
    answer = call("POST", VMS, CREATE_BODY)
    vm_id, request_id = answer.json["id"], answer.headers["X-Request-ID"]
    assert cloud.wait_for_line(request_id=request_id, message="request")["vm_id"] == vm_id
    done = cloud.wait_for_line(request_id=request_id, message="vm create succeeded")
    assert (done["vm_id"], done["user"], done["level"]) == (vm_id, "anonymous", "info")
    assert answer.headers["Operation-Location"].endswith(done["operation_id"])


def send_forged_lines(call: HttpClient, end: str) -> None:
    """Send a line end and a forged line in every part of a request."""
    text = f"a{end}{FORGED_LINE}"
    for path in (f"/{quote(text)}", f"{VMS}/{quote(text)}/start", f"/problems/{quote(text)}"):
        assert call("GET", path).status in (404, 405)
    assert call("GET", f"{VMS}?name={quote(text)}&{quote(text)}=1").status == 422
    for members in ({"name": text}, {"image": text}, {"metadata": {text: "1"}}, {text: 1}):
        answer = call("POST", VMS, CREATE_BODY | members)
        assert answer.status == 422, answer
    assert call("POST", VMS, body=b'{"a": ' + text.encode(), headers=AS_JSON).status == 400


AS_JSON = {"Content-Type": "application/json"}


def send_unparsable(cloud: Gunicorn, end: str) -> None:
    """Send requests that gunicorn rejects before the app sees them."""
    for head in (f"G{end}T / HTTP/1.1", f"GET /{end}{FORGED_LINE} HTTP/1.1", f"GET / HTTP/{end}"):
        send_raw(cloud.port, f"{head}\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
    for header in (f"X{end}A: b", f"X-Request-ID: a{end}{FORGED_LINE}", f"A: {end}"):
        sent = f"GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{header}\r\n\r\n"
        send_raw(cloud.port, sent.encode())


def test_clients_cannot_forge_log_lines(gunicorn: Callable[..., Gunicorn]) -> None:
    server = gunicorn(LOG_LEVEL="DEBUG")
    server.start().wait_for("/readyz")
    for end in LINE_ENDS:
        send_forged_lines(server.call, end)
        send_unparsable(server, end)
    server.call("GET", "/livez", headers={"X-Request-ID": "last-request"})
    server.wait_for_line(request_id="last-request")
    text = server.read_log()
    assert text.isascii()
    assert all(line.isprintable() for line in text.split("\n"))
    assert [line for line in server.log_lines() if line["message"] == "forged"] == []
    requests = [line for line in server.log_lines() if line["message"] == "request"]
    assert all(set(line) == REQUEST_LINE_MEMBERS for line in requests)
    assert len(requests) > 8 * len(LINE_ENDS)


def test_secrets_are_in_no_log_and_no_response(gunicorn: Callable[..., Gunicorn]) -> None:
    server = gunicorn(LOG_LEVEL="DEBUG", OPENSTACK_PASSWORD="hunter2", VMAPI_MEMORY_LATENCY="0.1")
    server.start().wait_for("/readyz")
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHunter3Hunter3Hunter3Hunter3Hunter3Hunt me@home"
    secret = CREATE_BODY | {"user_data": "#!/bin/sh\necho hunter4\n", "ssh_keys": [key]}
    created = server.call("POST", VMS, secret)
    assert created.status == 202
    operation_url, vm_url = created.headers["Operation-Location"], created.headers["Location"]
    wait_until("a VM", lambda: server.call.get_json(operation_url)["finished_at"])
    answers = [
        created,
        *(server.call("GET", path) for path in (vm_url, VMS, operation_url, f"{vm_url}/console")),
        server.call("POST", VMS, secret),
        server.call("POST", VMS, secret | {"name": "other", "flavor": "none"}),
        server.call("POST", VMS, secret | {"user_data": 1, "ssh_keys": [key, key + "\n"]}),
        server.call("POST", VMS, body=json.dumps(secret).encode()[:-1], headers=AS_JSON),
    ]
    assert [answer.status for answer in answers] == [202, 200, 200, 200, 200, 409, 422, 422, 400]
    visible = server.read_log() + "".join(answer.body.decode() for answer in answers)
    assert re.findall("hunter.", visible, re.IGNORECASE) == []


def test_terminal_log_is_coloured_without_escapes_of_clients() -> None:
    terminal, server_end = pty.openpty()
    server = HttpClient(0)
    env = build_environment(VMAPI_BIND="127.0.0.1:0", TERM="xterm")
    config = str(ROOT / "config/gunicorn.conf.py")
    command = (sys.executable, *("-m", "gunicorn", "-c", config, "wsgi:app"))
    process = subprocess.Popen(
        command, env=env, stdout=server_end, stderr=server_end, cwd=ROOT / "tests"
    )
    os.close(server_end)
    output = bytearray()
    reader = threading.Thread(target=_read_all, args=(terminal, output))
    reader.start()
    try:
        ready_line = re.compile(rb"ready at http://127\.0\.0\.1:(\d+)")
        server.port = int(wait_until("a port", lambda: ready_line.search(output))[1])
        server("GET", f"/{quote(chr(27))}[31mred{quote(chr(0x2028))}{quote(chr(10))}{FORGED_LINE}")
        wait_until("the line", lambda: b"forged" in output)
    finally:
        process.terminate()
        process.wait(WAIT_SECONDS)
        reader.join(WAIT_SECONDS)
        os.close(terminal)
    line = next(line for line in output.split(b"\r\n") if b"forged" in line)
    assert line.startswith(b"\x1b[")
    assert re.search(rb"GET /\\+x1b\[31mred\\+u2028\\+n\{", line)


def _read_all(terminal: int, output: bytearray) -> None:
    while True:
        try:
            output += os.read(terminal, 65536)
        except OSError:
            return
