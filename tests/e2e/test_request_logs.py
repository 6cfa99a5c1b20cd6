"""The log: one JSON object a line, with who asked for what; forged by nobody, and no secrets."""

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

from tests.support.http_client import WAIT_SECONDS, HttpClient, send_raw, wait_until
from tests.support.processes import ROOT, Gunicorn, Nginx, build_environment

VMS = "/api/v1/vms"
WANTED = {"name": "log-1", "flavor": "m1.tiny", "image": "cirros"}
FORGED = '{"level":"error","message":"forged"}'
ENDS = ["\n", "\x0b", "\x0c", "\x1b[31m", "\x1c", "\x7f", "\x85", "\u2028", "\u2029", "\u202e"]
MEMBERS = {
    *("timestamp", "level", "message", "request_id", "user"),
    *("endpoint", "vm_id", "status", "duration_ms"),
}


def test_request_has_its_line(front: Nginx, cloud: Gunicorn) -> None:
    answer = front.call("GET", f"{VMS}?name=a*", headers={"X-Request-ID": "my-own.id:1"})
    assert answer.headers["X-Request-ID"] == "my-own.id:1"
    line = cloud.wait_for_line(request_id="my-own.id:1")
    assert set(line) == MEMBERS
    assert (line["level"], line["message"]) == ("info", "request")
    assert (line["user"], line["vm_id"]) == ("anonymous", None)
    assert (line["endpoint"], line["status"]) == (f"GET {VMS}", 200)
    assert 0 < line["duration_ms"] < 10_000
    at = datetime.fromisoformat(line["timestamp"])
    assert line["timestamp"].endswith("Z")
    assert abs(datetime.now(at.tzinfo) - at) < timedelta(minutes=1)


@pytest.mark.parametrize("sent", ["", "-begins-badly", "a b", "x" * 129, "a\x1b[31m", "a\xe9"])
def test_request_id_that_is_not_sane_is_replaced(front: Nginx, cloud: Gunicorn, sent: str) -> None:
    for call in (front.call, cloud.call):
        answer = call("GET", "/livez", headers={"X-Request-ID": sent})
        made = answer.headers["X-Request-ID"]
        form = r"req-[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
        assert re.fullmatch(form, made)
        assert cloud.wait_for_line(request_id=made)


def test_work_in_the_background_is_told_under_the_request(
    call: HttpClient, cloud: Gunicorn
) -> None:
    answer = call("POST", VMS, WANTED)
    vm_id, made = answer.json["id"], answer.headers["X-Request-ID"]
    assert cloud.wait_for_line(request_id=made, message="request")["vm_id"] == vm_id
    done = cloud.wait_for_line(request_id=made, message="vm create succeeded")
    assert (done["vm_id"], done["user"], done["level"]) == (vm_id, "anonymous", "info")
    assert answer.headers["Operation-Location"].endswith(done["operation_id"])


def attack(call: HttpClient, end: str) -> None:
    """Send a line's end and a forged line wherever something can be sent."""
    bad = f"a{end}{FORGED}"
    for path in (f"/{quote(bad)}", f"{VMS}/{quote(bad)}/start", f"/problems/{quote(bad)}"):
        assert call("GET", path).status in (404, 405)
    assert call("GET", f"{VMS}?name={quote(bad)}&{quote(bad)}=1").status == 422
    for sent in ({"name": bad}, {"image": bad}, {"metadata": {bad: "1"}}, {bad: 1}):
        answer = call("POST", VMS, WANTED | sent)
        assert answer.status == 422, answer
    assert call("POST", VMS, body=b'{"a": ' + bad.encode(), headers=AS_JSON).status == 400


AS_JSON = {"Content-Type": "application/json"}


def strange(cloud: Gunicorn, end: str) -> None:
    """Send what only gunicorn itself sees."""
    for head in (f"G{end}T / HTTP/1.1", f"GET /{end}{FORGED} HTTP/1.1", f"GET / HTTP/{end}"):
        send_raw(cloud.port, f"{head}\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
    for header in (f"X{end}A: b", f"X-Request-ID: a{end}{FORGED}", f"A: {end}"):
        sent = f"GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{header}\r\n\r\n"
        send_raw(cloud.port, sent.encode())


def test_no_client_writes_lines_of_its_own(gunicorn: Callable[..., Gunicorn]) -> None:
    server = gunicorn(LOG_LEVEL="DEBUG")
    server.start().wait_for("/readyz")
    for end in ENDS:
        attack(server.call, end)
        strange(server, end)
    server.call("GET", "/livez", headers={"X-Request-ID": "the-last"})
    server.wait_for_line(request_id="the-last")
    text = server.read_log()
    assert text.isascii()
    assert all(line.isprintable() for line in text.split("\n"))
    assert [line for line in server.log_lines() if line["message"] == "forged"] == []
    requests = [line for line in server.log_lines() if line["message"] == "request"]
    assert all(set(line) == MEMBERS for line in requests)
    assert len(requests) > 8 * len(ENDS)


def test_secrets_are_told_to_nobody(gunicorn: Callable[..., Gunicorn]) -> None:
    server = gunicorn(LOG_LEVEL="DEBUG", OPENSTACK_PASSWORD="hunter2", VMAPI_MEMORY_LATENCY="0.1")
    server.start().wait_for("/readyz")
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHunter3Hunter3Hunter3Hunter3Hunter3Hunt me@home"
    secret = WANTED | {"user_data": "#!/bin/sh\necho hunter4\n", "ssh_keys": [key]}
    made = server.call("POST", VMS, secret)
    assert made.status == 202
    where, vm = made.headers["Operation-Location"], made.headers["Location"]
    wait_until("a VM", lambda: server.call.get_json(where)["finished_at"])
    answers = [
        made,
        *(server.call("GET", path) for path in (vm, VMS, where, f"{vm}/console")),
        server.call("POST", VMS, secret),
        server.call("POST", VMS, secret | {"name": "other", "flavor": "none"}),
        server.call("POST", VMS, secret | {"user_data": 1, "ssh_keys": [key, key + "\n"]}),
        server.call("POST", VMS, body=json.dumps(secret).encode()[:-1], headers=AS_JSON),
    ]
    assert [answer.status for answer in answers] == [202, 200, 200, 200, 200, 409, 422, 422, 400]
    shown = server.read_log() + "".join(answer.body.decode() for answer in answers)
    assert re.findall("hunter.", shown, re.IGNORECASE) == []


def test_terminal_shows_colours_and_none_of_a_client() -> None:
    ours, theirs = pty.openpty()
    server = HttpClient(0)
    env = build_environment(VMAPI_BIND="127.0.0.1:0", TERM="xterm")
    command = (
        sys.executable,
        "-m",
        "gunicorn",
        "-c",
        str(ROOT / "config/gunicorn.conf.py"),
        "wsgi:app",
    )
    process = subprocess.Popen(command, env=env, stdout=theirs, stderr=theirs, cwd=ROOT / "tests")
    os.close(theirs)
    shown = bytearray()
    reader = threading.Thread(target=_read_all, args=(ours, shown))
    reader.start()
    try:
        listens = re.compile(rb"ready at http://127\.0\.0\.1:(\d+)")
        server.port = int(wait_until("a port", lambda: listens.search(shown))[1])
        server("GET", f"/{quote(chr(27))}[31mred{quote(chr(0x2028))}{quote(chr(10))}{FORGED}")
        wait_until("the line", lambda: b"forged" in shown)
    finally:
        process.terminate()
        process.wait(WAIT_SECONDS)
        reader.join(WAIT_SECONDS)
        os.close(ours)
    line = next(line for line in shown.split(b"\r\n") if b"forged" in line)
    assert line.startswith(b"\x1b[")
    assert re.search(rb"GET /\\+x1b\[31mred\\+u2028\\+n\{", line)


def _read_all(terminal: int, shown: bytearray) -> None:
    while True:
        try:
            shown += os.read(terminal, 65536)
        except OSError:
            return
