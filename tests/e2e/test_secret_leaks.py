"""Secrets in every place that has one, and then a look at everything that can be seen."""

import json
import re
import signal
import socket
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.http_client import WAIT_SECONDS, HttpResponse, send_raw, wait_until
from tests.support.processes import ROOT, Gunicorn, Nginx, build_environment
from vmapi.settings.settings import DECLARATIONS

VMS = "/api/v1/vms"
CANARY = "hunter2"
"""Part of everything that is secret."""

SECRETS = {declared.name for declared in DECLARATIONS.values() if declared.is_secret}
TOLD = {
    "Authorization": f"Bearer {CANARY}",
    "X-Auth-Token": CANARY,
    "Proxy-Authorization": f"Basic {b64encode(CANARY.encode()).decode()}",
    "Cookie": f"session={CANARY}",
    "Referer": f"https://console.example.org/?token={CANARY}",
}
CRASHES = f"{VMS}/actions?token={CANARY}"
SSH_KEY = f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{'Hunter2' * 6}A me@{CANARY}"
WANTED = {
    "name": "web-1",
    "flavor": "m1.tiny",
    "image": "cirros",
    "user_data": f"#cloud-config\npassword: {CANARY}\n",
    "ssh_keys": [SSH_KEY],
}
AWAY = {
    "VMAPI_BACKEND": "openstack",
    "VMAPI_ENGINE": "celery",
    "VMAPI_BROKER_URL": f"amqp://u:{CANARY}@127.0.0.1:1//",
    "VMAPI_DATABASE_URL": f"postgresql+psycopg://u:{CANARY}@127.0.0.1:1/n",
    "VMAPI_AUDIT_KEY": CANARY * 5,
    "VMAPI_RATE_STORAGE": f"redis://:{CANARY}@127.0.0.1:1/0",
    "OPENSTACK_AUTH_URL": "http://127.0.0.1:1/v3",
    "OPENSTACK_USERNAME": "vmapi",
    "OPENSTACK_PROJECT": "web",
    "OPENSTACK_PASSWORD": CANARY,
    "LOG_LEVEL": "DEBUG",
}


def shows(seen: bytes) -> list[bytes]:
    """Return where a secret is seen, as it is or in base64, with what is around it."""
    encoded = [b64encode(b"-" * n + CANARY.encode())[4:-4] for n in range(3)]
    pattern = b"|".join([CANARY.encode(), *map(re.escape, encoded)])
    return [seen[max(0, m.start() - 60) : m.end()] for m in re.finditer(pattern, seen, re.I)]


def processes(server: Gunicorn) -> Iterator[bytes]:
    """Return what everybody on the machine sees of the processes."""
    for pid in (server.pid, *server.child_pids()):
        for name in ("cmdline", "comm", "status"):
            yield Path(f"/proc/{pid}/{name}").read_bytes()


def visible(answer: HttpResponse) -> bytes:
    return answer.body + str(answer.headers).encode()


def ask_everything(call: Callable[..., HttpResponse]) -> Iterator[HttpResponse]:
    """Send secrets along with what is right, wrong and beyond reading."""
    keyed = {**TOLD, "Idempotency-Key": "k-1"}
    made = call("POST", VMS, WANTED, headers=keyed)
    yield made
    yield call("POST", VMS, WANTED, headers=keyed)
    yield call("POST", VMS, WANTED, headers=TOLD)
    yield call("POST", VMS, {**WANTED, "name": "web-2", "flavor": "none"}, headers=TOLD)
    yield call("POST", VMS, {**WANTED, "user_data": [CANARY], "ssh_keys": CANARY}, headers=TOLD)
    yield call("POST", VMS, {**WANTED, "ssh_keys": [SSH_KEY, f"{CANARY}\n"]}, headers=TOLD)
    as_json = {**TOLD, "Content-Type": "application/json"}
    yield call("POST", VMS, body=json.dumps(WANTED).encode()[:-1], headers=as_json)
    yield call("POST", VMS, body=json.dumps(WANTED).encode(), headers=TOLD)
    where = made.headers["Location"] or f"{VMS}/{'0' * 8}-0000-4000-8000-{'0' * 12}"
    for path in (VMS, where, f"{where}/console", "/api/v1/operations", "/docs", "/openapi.json"):
        yield call("GET", f"{path}?access_token={CANARY}", headers=TOLD)
        yield call("GET", path, headers=TOLD)
    for path in ("/readyz", "/nothing", "/api/v1/flavors"):
        yield call("GET", path, headers=TOLD)
    yield call("PUT", f"{VMS}?token={CANARY}", WANTED, headers=TOLD)
    yield call("DELETE", where, headers=TOLD)


def send_nonsense(port: int) -> Iterator[bytes]:
    """Send what gunicorn does not let through to the app."""
    for sent in (
        f"GET /?token={CANARY} HTTP/1.1\r\nHost: a\r\nAuthorization Bearer {CANARY}\r\n\r\n",
        f"GET /?token={CANARY} HTTP/7.1\r\nHost: a\r\n\r\n",
        f"GET /?token={CANARY}\r\n\r\n",
        f"{CANARY}\r\n\r\n",
        f"GET / HTTP/1.1\r\nHost: a\r\n Bearer {CANARY}\r\n\r\n",
        f"GET / HTTP/1.1\r\nHost: a\r\n{CANARY}@: b\r\n\r\n",
        f"GET / HTTP/1.1\r\nHost: a\r\nExpect: {CANARY}\r\nConnection: close\r\n\r\n",
        f"POST {VMS} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: {CANARY}\r\n\r\n",
        f"POST {VMS} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        f"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n{CANARY}\r\n\r\n",
    ):
        status, headers, body = send_raw(port, sent.encode())
        assert status in (400, 404, 417), sent
        yield body + str(headers).encode()
    with socket.create_connection(("127.0.0.1", port), WAIT_SECONDS) as broken:
        broken.sendall(f"GET / HTTP/1.1\r\nAuthorization: Bearer {CANARY}\r\n".encode())


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """Name a file for each secret setting but the database, which has none here."""
    named = {}
    for name in SECRETS - {"VMAPI_DATABASE_URL"}:
        value = AWAY.get(name, CANARY * 5)
        (tmp_path / name).write_text(f"{value}\n")
        named[f"{name}_FILE"] = str(tmp_path / name)
    return named


def test_what_serves_shows_nothing(
    gunicorn: Callable[..., Gunicorn],
    nginx: Callable[[int], Nginx],
    tmp_path: Path,
    files: dict[str, str],
) -> None:
    folder = tmp_path / "kept"
    url = f"sqlite:///{folder}/vmapi.sqlite3"
    server = gunicorn(LOG_LEVEL="DEBUG", VMAPI_DATABASE_URL=url, **files)
    server.start(app="tests.support.crashing_app:app").wait_for("/readyz")
    front = nginx(server.port)
    answers = [*ask_everything(server.call), *ask_everything(front.call)]
    assert {answer.status for answer in answers} >= {200, 201, 204, 400, 404, 405, 409, 415, 422}
    crashes = [server.call("POST", CRASHES, WANTED, headers=TOLD) for _ in "12"]
    for crash in crashes:
        crash.check_problem(500, "internal_error")
    seen = [visible(answer) for answer in (*answers, *crashes)] + [*send_nonsense(server.port)]
    seen += processes(server)
    server.wait_for_line(
        level="debug", message="Ignored premature client disconnection. NoMoreData"
    )
    lost = server.wait_for_line(request_id=crashes[0].headers["X-Request-ID"], level="error")
    assert "RuntimeError: a defect" in lost["exception"]
    assert "LookupError" in lost["exception"]
    server.kill()
    front.call("GET", f"{VMS}?token={CANARY}", headers=TOLD).check_problem(502, "backend_error")
    seen += [server.log.read_bytes(), front.log.read_bytes()]
    seen += [(front.directory / "access.log").read_bytes()]
    kept = b"".join(path.read_bytes() for path in folder.iterdir())
    assert b"anonymous" in kept
    for one in (*seen, kept):
        assert shows(one) == []


def test_an_access_log_of_gunicorn_shows_paths_alone(gunicorn: Callable[..., Gunicorn]) -> None:
    server = gunicorn()
    form = "%(h)s %(u)s %(r)s %(q)s %(f)s %({authorization}i)s %({raw_uri}e)s %({http_cookie}e)s"
    server.start("--access-logfile", "-", "--access-logformat", form).wait_for("/readyz")
    basic = {"Authorization": f"Basic {b64encode(f'{CANARY}:x'.encode()).decode()}"}
    for headers in (TOLD, basic):
        server.call("GET", f"/livez?token={CANARY}", headers=headers)
    line = wait_until(
        "a line", lambda: re.search(r'127\.0\.0\.1 - GET /livez [^"]*', server.read_log())
    )
    assert line[0] == "127.0.0.1 - GET /livez HTTP/1.1  - - - -"
    assert shows(server.log.read_bytes()) == []


@pytest.mark.parametrize(
    ("auth", "statuses"),
    [("none", {200, 400, 404, 405, 422, 503}), ("token", {200, 401, 404, 405, 503})],
)
def test_while_everything_is_away(
    gunicorn: Callable[..., Gunicorn], auth: str, statuses: set[int]
) -> None:
    server = gunicorn(**AWAY, VMAPI_AUTH=auth)
    server.start().wait_for("/livez")
    answers = list(ask_everything(server.call))
    assert {answer.status for answer in answers} >= statuses
    seen = [visible(answer) for answer in answers] + [*processes(server)]
    for one in (*seen, server.log.read_bytes()):
        assert shows(one) == []


def flask(*arguments: str, **settings: str) -> tuple[int, bytes]:
    """Run a command to its end, or to the point where it only waits."""
    command = (sys.executable, "-m", "flask", "--app", "wsgi", *arguments)
    process = subprocess.Popen(
        command,
        env=build_environment(**settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=ROOT,
    )
    title = Path(f"/proc/{process.pid}/cmdline").read_bytes()
    try:
        shown, _ = process.communicate(timeout=8 if "worker" in arguments else WAIT_SECONDS)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        shown, _ = process.communicate()
    return process.returncode, shown + title


@pytest.mark.parametrize(
    ("arguments", "settings", "code"),
    [
        (("check",), AWAY, 1),
        (("db", "upgrade"), AWAY, 1),
        (("audit", "verify"), AWAY, 1),
        (("worker",), AWAY, -9),
        (("check",), {"OPENSTACK_PASSWORD": CANARY, "VMAPI_AUDIT_KEY": CANARY}, 3),
        (("check",), {"VMAPI_DATABASE_URL": f"postgresql+psycopg://u:p@h:{CANARY}@h/n"}, 3),
        (("check",), {"VMAPI_BROKER_URL": f"amqp://u:{CANARY}"}, 3),
        (("check",), {"OPENSTACK_PASSWORD_FILE": CANARY}, 3),
        (("check",), {"VMAPI_THREDS": CANARY}, 3),
    ],
)
def test_commands_show_nothing(
    arguments: tuple[str, ...], settings: dict[str, Any], code: int
) -> None:
    ended, shown = flask(*arguments, **settings)
    assert (ended, shows(shown)) == (code, [])
    assert b"Traceback" not in shown or arguments == ("worker",)
