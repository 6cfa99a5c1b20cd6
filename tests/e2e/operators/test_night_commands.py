"""The commands of operators next to running servers: a cloud that hangs, and stdout for scripts."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.engine_worker import EngineWorker
from tests.support.http_client import wait_until
from tests.support.openstack_process import OpenStackProcess
from tests.support.operator_commands import OperatorShell
from tests.support.processes import Gunicorn, ServerProcess
from vmapi.domain.access.api_token import is_well_formed

pytestmark = pytest.mark.disruption

NO_RESPONSE_CODES = ("backend_timeout", "backend_unavailable")


@pytest.fixture
def shell(tmp_path: Path, servers: list[ServerProcess]) -> OperatorShell:
    """Commands with the settings of a server and a worker on an OpenStack, which run."""
    cloud = OpenStackProcess(tmp_path)
    servers.append(cloud.start())
    settings = {
        **cloud.settings,
        "VMAPI_AUTH": "none",
        "VMAPI_ENGINE": "worker",
        "VMAPI_WORKERS": "1",
        "VMAPI_BACKEND_TIMEOUT": "4",
        "VMAPI_DATABASE_URL": f"sqlite:///{tmp_path}/vmapi.sqlite3",
    }
    for server in (Gunicorn(tmp_path, **settings), EngineWorker(tmp_path, **settings)):
        servers.append(server)
        server.start()
    servers[1].wait_for("/livez")
    return OperatorShell(tmp_path, **settings)


@contextmanager
def hanging(cloud: ServerProcess) -> Iterator[None]:
    """Stop the cloud from answering while the block lasts."""
    os.kill(cloud.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(cloud.pid, signal.SIGCONT)


def fetch_vm_id(api: Gunicorn) -> str:
    """Return the id of a VM that the server has read from the cloud: it is logged in there."""
    vm_id = str(api.call.get_json("/api/v1/vms?page_size=1")["items"][0]["id"])
    fresh = {"Cache-Control": "no-cache"}
    assert api.call("GET", f"/api/v1/vms/{vm_id}", headers=fresh).status == 200
    return vm_id


def find_inventory(shell: OperatorShell) -> Any:
    """Return the inventory if it has VMs."""
    shown = shell.get_document("inventory", "show")
    return shown if shown["vms_by_status"]["RUNNING"] else None


def get_audit_entries(shell: OperatorShell, action: str) -> list[Any]:
    lines = shell.get_output("audit", "export", "--action", action).splitlines()
    return [json.loads(line) for line in lines]


def test_operation_on_a_hanging_cloud_is_found_and_ended(
    shell: OperatorShell, servers: list[ServerProcess]
) -> None:
    cloud, api, worker = servers
    assert isinstance(api, Gunicorn)
    # the leader saves the VMs of its first sync some time after its election
    shown = wait_until("synced", lambda: find_inventory(shell))
    assert shown["leader"].endswith(f", process {worker.pid}")
    assert shown["vms_by_status"]["RUNNING"] == 20
    vm_id = fetch_vm_id(api)
    with hanging(cloud):
        api.call("POST", f"/api/v1/vms/{vm_id}/stop").check_problem(504, "backend_timeout")
        (listed,) = shell.get_document("operations", "list")
        assert (listed["vm_id"], listed["steps"][0]["state"]) == (vm_id, "dispatching")
        args = ("operations", "fail", listed["id"], "--reason", "Nova hangs", "--yes")
        show = ("operations", "show", listed["id"])
        wait_until("attempts", lambda: shell.get_document(*show)["failed_attempts"] > 1)
        assert shell.get_document(*show)["last_failure"]["code"] in NO_RESPONSE_CODES
        assert shell.run("operations", "retry", listed["id"]).returncode == 0
        # refused during the window of the call: its response timeout and 10 s
        wait_until("ended", lambda: shell.run(*args).returncode == 0)
        assert shell.get_document("operations", "list") == []
        assert api.call.get_json(f"/api/v1/vms/{vm_id}")["task"] is None
        assert shell.run("inventory", "sync").returncode == 1
    wait_until("the cloud answers", lambda: shell.run("inventory", "sync").returncode == 0)
    # the engine has left the operation as the operator ended it
    assert shell.get_document(*show)["error"]["code"] == "operation_timeout"
    (act,) = get_audit_entries(shell, "operation_fail")
    assert (act["operation_id"], act["reason"]) == (listed["id"], "Nova hangs")
    assert len(get_audit_entries(shell, "operation_retry")) == 1


def test_stdout_has_data_only(gunicorn: Callable[..., Gunicorn], tmp_path: Path) -> None:
    settings = {"VMAPI_DATABASE_URL": f"sqlite:///{tmp_path}/vmapi.sqlite3"}
    gunicorn(**settings).start().wait_for("/readyz")
    # with the warning that no tokens are required
    shell = OperatorShell(tmp_path, **settings, VMAPI_AUTH="none", VMAPI_ALLOW_ANONYMOUS="true")
    token = shell.get_output("token", "create", "--subject", "ci", "--role", "viewer")
    assert token == f"{token.strip()}\n"
    assert is_well_formed(token.strip())
    for command in (
        *(("check",), ("db", "check"), ("db", "upgrade"), ("db", "backup", "copy")),
        *(("inventory", "show"), ("operations", "list"), ("operations", "list", "--failed")),
        *(("token", "list"), ("support-bundle", "bundle.tar.gz")),
    ):
        shell.get_document(*command)
