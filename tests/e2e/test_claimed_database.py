"""Two servers with the in-memory cloud on one SQLite file: the second one is refused."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.http_client import wait_until
from tests.support.processes import Gunicorn, run_flask

VMS = "/api/v1/vms"
CREATE_BODY = {"name": "web-1", "flavor": "m1.tiny", "image": "cirros"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "vmapi.sqlite3"


@pytest.fixture
def first(gunicorn: Callable[..., Gunicorn], path: Path) -> Gunicorn:
    """A server with a VM."""
    server = gunicorn(VMAPI_DATABASE_URL=f"sqlite:///{path}").start()
    server.wait_for("/readyz")
    assert server.call("POST", VMS, CREATE_BODY).status == 201
    return server


@pytest.fixture
def second(first: Gunicorn, tmp_path: Path, servers: list[Gunicorn]) -> Gunicorn:
    """Another server with the same database, not started."""
    (tmp_path / "second").mkdir()
    url = first.settings["VMAPI_DATABASE_URL"]
    server = Gunicorn(tmp_path / "second", VMAPI_DATABASE_URL=url)
    servers.append(server)
    return server


def claimed_text(path: Path) -> str:
    return (
        f"another server uses {path}, and each would have its own cloud in memory: stop it, or "
        "name another file in VMAPI_DATABASE_URL"
    )


def test_second_server_does_not_start(first: Gunicorn, second: Gunicorn, path: Path) -> None:
    assert second.start().wait_for_exit() == 3
    assert second.read_log().splitlines()[-1] == f"vmapi does not start: {claimed_text(path)}"
    assert "Traceback" not in second.read_log()
    assert first.call.get_json(VMS)["total"] == 1


def test_link_to_the_file_is_the_same_database(
    first: Gunicorn, second: Gunicorn, path: Path, tmp_path: Path
) -> None:
    link = tmp_path / "link.sqlite3"
    link.symlink_to(path)
    second.settings["VMAPI_DATABASE_URL"] = f"sqlite:///{link}"
    assert second.start().wait_for_exit() == 3
    assert claimed_text(path) in second.read_log()
    assert first.call.get_json(VMS)["total"] == 1


def test_server_that_began_without_the_gunicorn_config_waits_for_the_database(
    first: Gunicorn, second: Gunicorn, path: Path
) -> None:
    second.start("-b", f"127.0.0.1:{second.port}", config=False)
    wait_until("an answer", lambda: second.answers("/livez"))
    problem = second.call("GET", VMS).check_problem(503, "store_unavailable")
    assert problem["detail"] == (
        "Another server uses vmapi's database, and each would have its own cloud in memory."
    )
    wait_until("a line in the log", lambda: claimed_text(path) in second.read_log())
    assert second.call("GET", "/livez").status == 503
    assert first.call.get_json(VMS)["total"] == 1
    first.stop()
    second.wait_for("/readyz")
    assert second.call("POST", VMS, {**CREATE_BODY, "name": "web-2"}).status == 201
    assert second.read_log().count("several processes serve a cloud in memory") == 1


def test_reload_and_commands_leave_the_claim_with_the_server(
    first: Gunicorn, second: Gunicorn
) -> None:
    (before,) = first.child_pids()
    os.kill(first.pid, signal.SIGHUP)
    wait_until("another worker", lambda: first.child_pids() not in ([before], []))
    first.wait_for("/readyz")
    wait_until("one worker", lambda: len(first.child_pids()) == 1)
    url = {"VMAPI_DATABASE_URL": first.settings["VMAPI_DATABASE_URL"]}
    for command in (("db", "check"), ("operations", "list"), ("check",)):
        run_flask(first.directory, url, *command)
    assert first.call("POST", VMS, {**CREATE_BODY, "name": "web-2"}).status == 201
    assert second.start().wait_for_exit() == 3


@pytest.mark.parametrize("end", [Gunicorn.stop, Gunicorn.kill])
def test_file_is_free_when_the_server_has_ended(
    first: Gunicorn, second: Gunicorn, end: Callable[[Gunicorn], None]
) -> None:
    end(first)
    second.start().wait_for("/readyz")
    assert second.call("POST", VMS, {**CREATE_BODY, "name": "web-2"}).status == 201
