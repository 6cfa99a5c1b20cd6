"""Refused starts: the message names the setting."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.http_client import WAIT_SECONDS, wait_until
from tests.support.processes import Gunicorn, build_environment

NEW_INTERPRETERS = pytest.mark.usefixtures("new_interpreters")

ONE_PROCESS = "the memory cloud lives in the memory of one process"
ADVICE = "use 1 worker (VMAPI_WORKERS, WEB_CONCURRENCY, -w), or VMAPI_BACKEND=openstack"


def refusal(server: Gunicorn) -> str:
    """Return the last line of a server that did not start, without its prefix."""
    assert server.wait_for_exit() == 3
    assert "Traceback" not in server.read_log()
    last = server.read_log().splitlines()[-1]
    prefix = "vmapi does not start: "
    assert last.startswith(prefix)
    return last.removeprefix(prefix)


@pytest.mark.parametrize(
    ("settings", "arguments", "workers"),
    [
        ({"VMAPI_WORKERS": "2"}, (), 2),
        ({"WEB_CONCURRENCY": "3"}, (), 3),
        ({}, ("-w", "4"), 4),
    ],
)
def test_several_workers_of_the_memory_cloud_are_refused(
    gunicorn: Callable[..., Gunicorn],
    settings: dict[str, str],
    arguments: tuple[str, ...],
    workers: int,
) -> None:
    server = gunicorn(**settings).start(*arguments)
    assert refusal(server) == f"{workers} workers, but {ONE_PROCESS}; {ADVICE}"


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("VMAPI_THREDS", "8", "VMAPI_THREDS: no such setting; VMAPI_THREADS is similar"),
        ("VMAPI_LOG_LEVEL", "DEBUG", "VMAPI_LOG_LEVEL: no such setting; its name is LOG_LEVEL"),
        ("VMAPI_THREADS", "many", "VMAPI_THREADS 'many': allowed is a whole number from 2 to 256"),
        ("VMAPI_BIND", "8000", "VMAPI_BIND '8000': allowed is HOST:PORT or unix:/PATH"),
        ("VMAPI_BIND", "127.0.0.1:65536", "VMAPI_BIND '127.0.0.1:65536': allowed is HOST:PORT or "),
        ("VMAPI_BACKEND", "aws", "VMAPI_BACKEND 'aws': allowed is memory, openstack"),
        ("VMAPI_MEMORY_FAULTS", "fire=1", "VMAPI_MEMORY_FAULTS 'fire=1': allowed is FAULT=COUNT"),
        ("VMAPI_BIND", "0.0.0.0:0", "VMAPI_AUTH token: tokens are stored in the database, "),
        ("VMAPI_AUTH", "jwt", "VMAPI_AUTH jwt: set VMAPI_JWT_ISSUER, the issuer's URL, and "),
        ("LOG_LEVEL", "LOUD", "LOG_LEVEL 'LOUD': allowed is DEBUG, INFO, "),
    ],
)
def test_refused_setting_is_named(
    gunicorn: Callable[..., Gunicorn], setting: str, value: str, message: str
) -> None:
    server = gunicorn(**{setting: value}).start()
    assert refusal(server).startswith(message)


@NEW_INTERPRETERS
def test_second_server_on_a_port_is_refused(
    gunicorn: Callable[..., Gunicorn], tmp_path: Path
) -> None:
    first = gunicorn()
    first.start().wait_for("/readyz")
    (tmp_path / "second").mkdir()
    second = Gunicorn(tmp_path / "second", first.port).start()
    assert refusal(second) == (
        f"cannot serve at 127.0.0.1:{first.port} (VMAPI_BIND): Address already in use"
    )
    assert first.call("GET", "/readyz").status == 200


def test_second_server_on_a_unix_socket_is_refused(
    gunicorn: Callable[..., Gunicorn], tmp_path: Path
) -> None:
    path = f"{tmp_path}/vmapi.sock"
    first = gunicorn(VMAPI_BIND=f"unix:{path}").start()
    first.wait_for_line(message=f"ready at unix:{path}, the docs page is at /docs")
    (tmp_path / "second").mkdir()
    second = Gunicorn(tmp_path / "second", VMAPI_BIND=f"unix:{path}").start()
    assert refusal(second) == (f"cannot serve at {path} (VMAPI_BIND): another server answers there")


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("missing/vmapi.sock", "the folder does not exist"),
        ("file", "the file is not a socket"),
        ("file/vmapi.sock", "the folder does not exist"),
        (".", "the file is not a socket"),
    ],
)
def test_path_without_room_for_a_unix_socket_is_refused(
    gunicorn: Callable[..., Gunicorn], tmp_path: Path, path: str, reason: str
) -> None:
    (tmp_path / "file").touch()
    address = f"{tmp_path}/{path}"
    server = gunicorn(VMAPI_BIND=f"unix:{address}").start()
    assert refusal(server) == f"cannot serve at {address} (VMAPI_BIND): {reason}"


def test_unix_socket_of_a_dead_server_is_reused(
    gunicorn: Callable[..., Gunicorn], tmp_path: Path
) -> None:
    path = f"{tmp_path}/vmapi.sock"
    server = gunicorn(VMAPI_BIND=f"unix:{path}")
    ready = {"message": f"ready at unix:{path}, the docs page is at /docs"}
    server.start().wait_for_line(**ready)
    server.kill()
    server.log.unlink()
    server.start().wait_for_line(**ready)


@NEW_INTERPRETERS
def test_several_processes_without_the_gunicorn_config_respond_503(
    gunicorn: Callable[..., Gunicorn],
) -> None:
    """Without the config file, vmapi learns of other processes from the requests."""
    server = gunicorn()
    server.start("-w", "2", "-b", f"127.0.0.1:{server.port}", config=False)
    wait_until("two workers", lambda: server.read_log().count("the memory cloud is for dev") == 2)
    answers = [server.call("GET", path) for path in ("/livez", "/api/v1/vms", "/readyz") * 3]
    detail = (
        "The memory cloud lives in the memory of one process, but several processes serve. "
        "Use one process, or set VMAPI_BACKEND=openstack."
    )
    for answer in answers:
        assert answer.check_problem(503, "backend_unavailable")["detail"] == detail
    lines = [line for line in _json_lines(server) if detail in line]
    assert 1 <= len(lines) <= 2


def _json_lines(server: Gunicorn) -> list[str]:
    return [line for line in server.read_log().splitlines() if '"level":"error"' in line]


def flask(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    command = (sys.executable, "-m", "flask", "--app", "wsgi", *arguments)
    env = build_environment(**settings)
    return subprocess.run(
        command, env=env, capture_output=True, text=True, check=False, timeout=WAIT_SECONDS
    )


def test_check_prints_the_settings() -> None:
    result = flask("check", OPENSTACK_PASSWORD="hunter2", VMAPI_THREADS="16")
    rows = dict(line.split(None, 1) for line in result.stdout.splitlines() if "  " in line)
    assert (result.returncode, result.stdout.splitlines()[-1]) == (0, "the cloud answers")
    assert (rows["VMAPI_BACKEND"], rows["VMAPI_THREADS"]) == ("memory", "16")
    assert rows["OPENSTACK_PASSWORD"] == "(set, hidden)"
    assert "hunter2" not in result.stdout + result.stderr


def test_check_fails_if_the_cloud_is_unavailable() -> None:
    result = flask("check", VMAPI_MEMORY_FAULTS="unavailable=1")
    detail = "The in-memory cloud is unavailable: an injected fault."
    assert (result.returncode, result.stderr) == (
        1,
        f"Error: the cloud does not answer: {detail}\n",
    )


def test_check_reports_a_refused_setting() -> None:
    result = flask("check", VMAPI_WORKERS="0")
    problem = "VMAPI_WORKERS '0': allowed is a whole number from 1 to 64"
    assert (result.returncode, result.stderr) == (3, f"vmapi does not start: {problem}\n")


@NEW_INTERPRETERS
def test_gunicorn_does_not_restart_a_misconfigured_worker(
    gunicorn: Callable[..., Gunicorn],
) -> None:
    server = gunicorn(VMAPI_THREADS="0")
    server.start("-b", f"127.0.0.1:{server.port}", config=False)
    assert server.wait_for_exit() == 3
    message = "vmapi does not start: VMAPI_THREADS '0': allowed is a whole number from 2 to 256"
    assert server.read_log().splitlines().count(message) == 1


@NEW_INTERPRETERS
def test_reload_continues_with_the_settings_of_the_start(
    gunicorn: Callable[..., Gunicorn], tmp_path: Path
) -> None:
    key_file = tmp_path / "audit-key"
    key_file.write_text("k" * 32)
    server = gunicorn(VMAPI_AUDIT_KEY_FILE=str(key_file)).start()
    server.wait_for("/readyz")
    (before,) = server.child_pids()
    key_file.unlink()
    (server.directory / ".env").write_text("VMAPI_THREDS=8")
    os.kill(server.pid, signal.SIGHUP)
    wait_until("new worker", lambda: before not in server.child_pids() and server.child_pids())
    server.wait_for("/readyz")
    log = server.read_log()
    assert "secret file not usable" in log
    assert "Traceback" not in log
