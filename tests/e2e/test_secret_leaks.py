"""Secrets in every input: none find_secrets in any output."""

import json
import re
import socket
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import pytest

from tests.support.environment import ROOT, build_environment
from tests.support.fork_server import ForkedProcess
from tests.support.gateways import Nginx
from tests.support.http_client import WAIT_SECONDS, HttpResponse, send_raw, wait_until
from tests.support.processes import Gunicorn, ServerProcess
from vmapi.settings.settings import DECLARATIONS

VMS = "/api/v1/vms"
CANARY = "hunter2"
"""Part of every secret of these tests."""

SECRET_SETTINGS = {declared.name for declared in DECLARATIONS.values() if declared.is_secret}
SECRET_HEADERS = {
    "Authorization": f"Bearer {CANARY}",
    "X-Auth-Token": CANARY,
    "Proxy-Authorization": f"Basic {b64encode(CANARY.encode()).decode()}",
    "Cookie": f"session={CANARY}",
    "Referer": f"https://console.example.org/?token={CANARY}",
}
CRASH_URL = f"{VMS}/actions?token={CANARY}"
SSH_KEY = f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{'Hunter2' * 6}A me@{CANARY}"
CREATE_BODY = {
    "name": "web-1",
    "flavor": "m1.tiny",
    "image": "cirros",
    "user_data": f"#cloud-config\npassword: {CANARY}\n",
    "ssh_keys": [SSH_KEY],
}
UNREACHABLE_SERVICES = {
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


def find_secrets(output: bytes) -> list[bytes]:
    """Return each secret, plain or in base64, with the text before it."""
    encoded = [b64encode(b"-" * n + CANARY.encode())[4:-4] for n in range(3)]
    pattern = b"|".join([CANARY.encode(), *map(re.escape, encoded)])
    return [output[max(0, m.start() - 60) : m.end()] for m in re.finditer(pattern, output, re.I)]


def process_titles(server: Gunicorn) -> Iterator[bytes]:
    """Return the files in /proc that every user of the machine can read."""
    for pid in (server.pid, *server.child_pids()):
        for name in ("cmdline", "comm", "status"):
            yield Path(f"/proc/{pid}/{name}").read_bytes()


def response_bytes(answer: HttpResponse) -> bytes:
    return answer.body + str(answer.headers).encode()


def send_all_requests(call: Callable[..., HttpResponse]) -> Iterator[HttpResponse]:
    """Send secrets with valid, invalid and unreadable requests."""
    keyed_headers = {**SECRET_HEADERS, "Idempotency-Key": "k-1"}
    created = call("POST", VMS, CREATE_BODY, headers=keyed_headers)
    yield created
    yield call("POST", VMS, CREATE_BODY, headers=keyed_headers)
    yield call("POST", VMS, CREATE_BODY, headers=SECRET_HEADERS)
    yield call(
        "POST", VMS, {**CREATE_BODY, "name": "web-2", "flavor": "none"}, headers=SECRET_HEADERS
    )
    yield call(
        "POST",
        VMS,
        {**CREATE_BODY, "user_data": [CANARY], "ssh_keys": CANARY},
        headers=SECRET_HEADERS,
    )
    yield call(
        "POST", VMS, {**CREATE_BODY, "ssh_keys": [SSH_KEY, f"{CANARY}\n"]}, headers=SECRET_HEADERS
    )
    as_json = {**SECRET_HEADERS, "Content-Type": "application/json"}
    yield call("POST", VMS, body=json.dumps(CREATE_BODY).encode()[:-1], headers=as_json)
    yield call("POST", VMS, body=json.dumps(CREATE_BODY).encode(), headers=SECRET_HEADERS)
    vm_url = created.headers["Location"] or f"{VMS}/{'0' * 8}-0000-4000-8000-{'0' * 12}"
    for path in (VMS, vm_url, f"{vm_url}/console", "/api/v1/operations", "/docs", "/openapi.json"):
        yield call("GET", f"{path}?access_token={CANARY}", headers=SECRET_HEADERS)
        yield call("GET", path, headers=SECRET_HEADERS)
    for path in ("/readyz", "/nothing", "/api/v1/flavors"):
        yield call("GET", path, headers=SECRET_HEADERS)
    yield call("PUT", f"{VMS}?token={CANARY}", CREATE_BODY, headers=SECRET_HEADERS)
    yield call("DELETE", vm_url, headers=SECRET_HEADERS)


def send_unparsable(port: int) -> Iterator[bytes]:
    """Send requests that gunicorn rejects before the app sees them."""
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
    """Write each secret setting except the database URL to a file; return the settings."""
    settings = {}
    for name in SECRET_SETTINGS - {"VMAPI_DATABASE_URL"}:
        value = UNREACHABLE_SERVICES.get(name, CANARY * 5)
        (tmp_path / name).write_text(f"{value}\n")
        settings[f"{name}_FILE"] = str(tmp_path / name)
    return settings


def cause_defects(server: Gunicorn) -> list[HttpResponse]:
    """Check that two crashes of a view are problems, and that the log has the traceback."""
    crashes = [server.call("POST", CRASH_URL, CREATE_BODY, headers=SECRET_HEADERS) for _ in "12"]
    for crash in crashes:
        crash.check_problem(500, "internal_error")
    logged_crash = server.wait_for_line(
        request_id=crashes[0].headers["X-Request-ID"], level="error"
    )
    assert "RuntimeError: a defect" in logged_crash["exception"]
    assert "LookupError" in logged_crash["exception"]
    return crashes


def test_server_shows_no_secret(
    gunicorn: Callable[..., Gunicorn],
    nginx: Callable[[int], Nginx],
    tmp_path: Path,
    files: dict[str, str],
) -> None:
    folder = tmp_path / "database"
    url = f"sqlite:///{folder}/vmapi.sqlite3"
    server = gunicorn(LOG_LEVEL="DEBUG", VMAPI_DATABASE_URL=url, **files)
    server.start(app="tests.support.crashing_app:app").wait_for("/readyz")
    front = nginx(server.port)
    answers = [*send_all_requests(server.call), *send_all_requests(front.call)]
    assert {answer.status for answer in answers} >= {200, 201, 204, 400, 404, 405, 409, 415, 422}
    outputs = [response_bytes(answer) for answer in (*answers, *cause_defects(server))]
    outputs += send_unparsable(server.port)
    outputs += process_titles(server)
    server.kill()
    front.call("GET", f"{VMS}?token={CANARY}", headers=SECRET_HEADERS).check_problem(
        502, "backend_error"
    )
    outputs += [server.log.read_bytes(), front.log.read_bytes()]
    outputs += [(front.directory / "access.log").read_bytes()]
    stored = b"".join(path.read_bytes() for path in folder.iterdir())
    assert b"anonymous" in stored
    for output in (*outputs, stored):
        assert find_secrets(output) == []


def test_access_log_of_gunicorn_has_paths_only(gunicorn: Callable[..., Gunicorn]) -> None:
    server = gunicorn()
    form = "%(h)s %(u)s %(r)s %(q)s %(f)s %({authorization}i)s %({raw_uri}e)s %({http_cookie}e)s"
    server.start("--access-logfile", "-", "--access-logformat", form).wait_for("/readyz")
    basic = {"Authorization": f"Basic {b64encode(f'{CANARY}:x'.encode()).decode()}"}
    for headers in (SECRET_HEADERS, basic):
        server.call("GET", f"/livez?token={CANARY}", headers=headers)
    line = wait_until(
        "a line", lambda: re.search(r'127\.0\.0\.1 - GET /livez [^"]*', server.read_log())
    )
    assert line[0] == "127.0.0.1 - GET /livez HTTP/1.1  - - - -"
    assert find_secrets(server.log.read_bytes()) == []


@pytest.mark.parametrize(
    ("auth", "statuses"),
    [("none", {200, 400, 404, 405, 422, 503}), ("token", {200, 401, 404, 405, 503})],
)
def test_unreachable_services_show_no_secret(
    gunicorn: Callable[..., Gunicorn], auth: str, statuses: set[int]
) -> None:
    server = gunicorn(**UNREACHABLE_SERVICES, VMAPI_AUTH=auth)
    server.start().wait_for("/livez")
    answers = list(send_all_requests(server.call))
    assert {answer.status for answer in answers} >= statuses
    outputs = [response_bytes(answer) for answer in answers] + [*process_titles(server)]
    for output in (*outputs, server.log.read_bytes()):
        assert find_secrets(output) == []


def flask(*arguments: str, **settings: str) -> tuple[int, bytes]:
    """Run a command until it exits; return its exit code, and its output with its title."""
    env = build_environment(**settings)
    with TemporaryFile() as file:
        command = ("flask", "--app", "wsgi", *arguments)
        process = ForkedProcess(*command, cwd=ROOT, env=env, stdout=file, stderr=file)
        title = b""
        # a command that has ended has no title
        with suppress(FileNotFoundError, ProcessLookupError):
            title = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        code = process.wait(WAIT_SECONDS)
        file.seek(0)
        return code, file.read() + title


@pytest.mark.parametrize(
    ("arguments", "settings", "code"),
    [
        (("check",), UNREACHABLE_SERVICES, 1),
        (("db", "upgrade"), UNREACHABLE_SERVICES, 1),
        (("audit", "verify"), UNREACHABLE_SERVICES, 1),
        (("check",), {"OPENSTACK_PASSWORD": CANARY, "VMAPI_AUDIT_KEY": CANARY}, 3),
        (("check",), {"VMAPI_DATABASE_URL": f"postgresql+psycopg://u:p@h:{CANARY}@h/n"}, 3),
        (("check",), {"VMAPI_BROKER_URL": f"amqp://u:{CANARY}"}, 3),
        (("check",), {"OPENSTACK_PASSWORD_FILE": CANARY}, 3),
        (("check",), {"VMAPI_THREDS": CANARY}, 3),
    ],
)
def test_commands_show_no_secret(
    arguments: tuple[str, ...], settings: dict[str, Any], code: int
) -> None:
    exit_code, output = flask(*arguments, **settings)
    assert (exit_code, find_secrets(output)) == (code, [])
    assert b"Traceback" not in output


def test_worker_without_its_services_shows_no_secret(
    tmp_path: Path, servers: list[ServerProcess]
) -> None:
    worker = ServerProcess(tmp_path, "worker")
    servers.append(worker)
    worker.spawn_python("flask", "--app", "wsgi", "worker", **UNREACHABLE_SERVICES)
    errors = ("store unavailable", "Cannot connect to amqp")
    wait_until("the errors", lambda: all(error in worker.read_log() for error in errors))
    for output in (*process_titles(worker), worker.log.read_bytes()):
        assert find_secrets(output) == []
