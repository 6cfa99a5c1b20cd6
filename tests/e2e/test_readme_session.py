"""The session of the README: it ends with the reason when something is wrong."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from tests.support.doc_scripts import BusyHandler, api_url, http_server, run_session
from tests.support.gateways import Nginx
from tests.support.http_client import wait_until
from tests.support.openstack_process import OpenStackProcess
from tests.support.processes import Gunicorn, ServerProcess


def check_session(folder: Path, port: int) -> None:
    """Run the session, and check its output."""
    lines = run_session(folder, api_url(port)).stdout.splitlines()
    assert re.fullmatch(r"web-1 has the address [0-9.]+", lines.pop(1))
    assert lines == [
        *("web-1 is RUNNING", "web-1 is PAUSED", "web-1 is RUNNING", "web-1 is RUNNING"),
        *("stop", "web-1 is STOPPED", "web-1 is deleted"),
    ]


def test_session_of_the_readme_shows_each_status(front: Nginx, tmp_path: Path) -> None:
    check_session(tmp_path, front.port)


def test_session_runs_on_the_simulated_openstack_of_the_trial(
    gunicorn: Callable[..., Gunicorn], servers: list[ServerProcess], tmp_path: Path
) -> None:
    cloud = OpenStackProcess(tmp_path, "--shared")
    servers.append(cloud.start())
    database_url = f"sqlite:///{tmp_path}/vmapi.sqlite3"
    api = gunicorn(**cloud.settings, VMAPI_AUTH="none", VMAPI_DATABASE_URL=database_url)
    api.start().wait_for("/readyz")
    check_session(tmp_path, api.port)


def test_session_stops_when_the_build_fails(
    gunicorn: Callable[..., Gunicorn], tmp_path: Path
) -> None:
    cloud = gunicorn(VMAPI_MEMORY_LATENCY="create=0.2", VMAPI_MEMORY_FAULTS="build_failed=1")
    cloud.start().wait_for("/readyz")
    result = run_session(tmp_path, api_url(cloud.port), succeeds=False)
    assert result.stdout == "web-1 is ERROR\n"
    assert "/pause: VM web-1 is ERROR" in result.stderr


def test_session_stops_when_the_name_is_taken(
    gunicorn: Callable[..., Gunicorn], tmp_path: Path
) -> None:
    cloud = gunicorn()
    cloud.start().wait_for("/readyz")
    taken = {"name": "web-1", "flavor": "m1.small", "image": "cirros"}
    assert cloud.call("POST", "/api/v1/vms", taken).status == 201
    result = run_session(tmp_path, api_url(cloud.port), succeeds=False)
    assert result.stdout == ""
    assert re.search(r"POST /vms: VM [0-9a-f-]{36} .*web-1", result.stderr)
    assert cloud.call.get_json("/api/v1/vms")["total"] == 1


def test_session_stops_when_its_vm_is_deleted(
    gunicorn: Callable[..., Gunicorn], tmp_path: Path
) -> None:
    cloud = gunicorn(VMAPI_MEMORY_LATENCY="restart=30")
    cloud.start().wait_for("/readyz")

    def delete_during_restart() -> None:
        def find_restarting_vm() -> str | None:
            items = cloud.call.get_json("/api/v1/vms")["items"]
            return next((vm["id"] for vm in items if vm["task"] == "restarting"), None)

        vm_id = wait_until("the restart", find_restarting_vm)
        assert cloud.call("DELETE", f"/api/v1/vms/{vm_id}").status == 204

    with ThreadPoolExecutor() as pool:
        deletion = pool.submit(delete_during_restart)
        result = run_session(tmp_path, api_url(cloud.port), succeeds=False)
        deletion.result()
    assert "web-1 is deleted" not in result.stdout
    assert re.search(r"(POST|GET) /vms/\S+: .*(no VM|delete)", result.stderr), result.stderr


def test_session_stops_when_the_token_is_wrong(
    gunicorn: Callable[..., Gunicorn], tmp_path: Path
) -> None:
    cloud = gunicorn(VMAPI_AUTH="token", VMAPI_DATABASE_URL=f"sqlite:///{tmp_path}/vmapi.sqlite3")
    cloud.start().wait_for("/readyz")
    for settings in ({}, {"TOKEN": "wrong"}):
        result = run_session(tmp_path, api_url(cloud.port), succeeds=False, **settings)
        assert result.stderr.endswith("Set TOKEN to a valid token.\n")


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("http://127.0.0.1:1/api/v1", "no response. Check API="),
        ("nothing:", "no response. Check API="),
        ("http://127.0.0.1:{port}/api/v2", "No resource has the URL /api/v2/vms."),
        ("http://127.0.0.1:{port}", "Did you mean /api/v1/vms?"),
        ("http://127.0.0.1:{unknown}/api/v1", "HTTP 501, not from vmapi: check API="),
        ("https://127.0.0.1:{port}/api/v1", "Check API=https://127.0.0.1:{port}/api/v1 and its ce"),
        ("https://127.0.0.1:{secure}/api/v1", "and its certificate"),
    ],
)
def test_session_with_a_wrong_url_says_what_to_do(
    ports: dict[str, int], tmp_path: Path, url: str, advice: str
) -> None:
    with http_server(handler=BaseHTTPRequestHandler) as unknown:
        places = {**ports, "unknown": unknown}
        result = run_session(tmp_path, url.format(**places), succeeds=False)
    assert result.stdout == ""
    assert advice.format(**places) in result.stderr


def test_session_waits_as_long_as_the_server_asks(tmp_path: Path) -> None:
    BusyHandler.busy_responses = 2
    with http_server(handler=BusyHandler) as port:
        result = run_session(tmp_path, api_url(port), succeeds=False)
    assert result.stderr.endswith("POST /vms: refused at last\n")
    assert BusyHandler.busy_responses == -1
