"""gunicorn with two workers of eight threads in front of the real cloud."""

import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from tests.support.live.api_script import RUN_LABEL, ApiScript, wait_for
from tests.support.live.gunicorn_server import GunicornServer, open_connections, serve_gunicorn
from tests.support.live.nova_proxy import NovaProxy
from vmapi.settings.settings import Settings

NAME_PREFIX = f"{RUN_LABEL}-many"
VM_COUNT = 6
READERS = 10
READ_INTERVAL = 1.0
"""Seconds between two reads of a client: more reads would take the CPU from Nova."""

SHAPE = {"VMAPI_WORKERS": "2", "VMAPI_THREADS": "8"}

wait_slowly = partial(wait_for, interval=READ_INTERVAL)

pytestmark = pytest.mark.live


@pytest.fixture
def served(cloud_settings: Settings, tmp_path: Path) -> Iterator[GunicornServer]:
    with serve_gunicorn(tmp_path, **SHAPE) as server:
        yield server


def test_concurrent_clients_see_no_error(served: GunicornServer, owner: Any) -> None:
    done = Event()
    scripts = [ApiScript(served.send, f"{NAME_PREFIX}-{n:02}") for n in range(VM_COUNT + READERS)]
    scripts[0].create_body()
    for script in scripts:
        script.defaults = scripts[0].defaults
    with ThreadPoolExecutor(len(scripts)) as pool:
        readers = [
            pool.submit(read, script, done, refresh=number % 2 == 0)
            for number, script in enumerate(scripts[VM_COUNT:])
        ]
        vm_runs = [pool.submit(run_vm, script) for script in scripts[:VM_COUNT]]
        try:
            for vm_run in vm_runs:
                vm_run.result()
        finally:
            done.set()
            for script in scripts[:VM_COUNT]:
                script.delete_created_vms()
        assert all(reader.result() > 0 for reader in readers)
    responses = [response for script in scripts for response in script.responses]
    codes = {response.body["code"] for response in responses if response.status >= 400}
    assert codes <= {"vm_not_found", "task_in_progress"}
    workers = served.child_pids()
    sockets = [open_connections(pid, owner.compute.get_endpoint()) for pid in workers]
    assert len(workers) == 2
    assert all(sockets)
    assert not sockets[0] & sockets[1]
    assert_log(served, {"vm create succeeded": VM_COUNT, "vm start succeeded": VM_COUNT})


def run_vm(script: ApiScript) -> None:
    """Create, start, stop and delete a VM."""
    created = script.request_vm()
    assert created.status in (201, 202), created
    path = f"/vms/{created.body['id']}"
    wait_slowly(lambda: has_settled(script, path, "STOPPED"))
    send_when_free(script, "POST", f"{path}/start", 200)
    wait_slowly(lambda: has_settled(script, path, "RUNNING"))
    send_when_free(script, "POST", f"{path}/stop", 200)
    wait_slowly(lambda: has_settled(script, path, "STOPPED"))
    send_when_free(script, "DELETE", path, 204)
    script.wait_until_deleted(created.body["id"])


def send_when_free(script: ApiScript, method: str, path: str, done: int) -> None:
    """Send a change, and repeat it while another worker holds the earlier operation."""

    def is_accepted() -> bool:
        response = script.call(method, path)
        busy = response.status == 409 and response.body["code"] == "task_in_progress"
        assert busy or response.status in (done, 202), response
        return not busy

    wait_slowly(is_accepted)


def has_settled(script: ApiScript, path: str, status: str) -> bool:
    """Return whether a VM has a status and no task."""
    vm = script.get(f"{path}/status")
    return (vm["status"], vm["task"]) == (status, None)


def read(script: ApiScript, done: Event, *, refresh: bool) -> int:
    """Read lists until the others are done, and return the number of reads."""
    times = 0
    while not done.wait(4 * READ_INTERVAL):
        assert (
            script.get(f"/vms?name={NAME_PREFIX}-*&page_size=1000", refresh=refresh)["total"]
            <= VM_COUNT
        )
        times += 1
    return times


def assert_log(served: GunicornServer, expected: dict[str, int]) -> None:
    """Assert that every log line is JSON, without warnings, and has the expected counts."""
    lines = [json.loads(line) for line in served.log.read_text().splitlines()]
    bad = [line for line in lines if line["level"] not in ("info", "debug")]
    bad = [line for line in bad if not line["message"].startswith("VMAPI_AUTH=none")]
    assert not bad
    counts = Counter(line["message"] for line in lines)
    assert {message: counts[message] for message in expected} == expected


def test_sigterm_waits_for_responses(
    settings_with_proxy: Settings, proxy: NovaProxy, tmp_path: Path
) -> None:
    release = Event()
    with serve_gunicorn(tmp_path, **SHAPE) as served, ThreadPoolExecutor(1) as pool:
        script = ApiScript(served.send, f"{RUN_LABEL}-term")
        with proxy.inject_fault("POST", "/servers$", run_before=lambda: release.wait(30)) as fault:
            waiting = pool.submit(script.request_vm, start=True)
            wait_for(lambda: fault.match_count)
            served.terminate()
            # vmapi accepts no request after SIGTERM
            wait_for(lambda: is_refused(served))
            assert not waiting.done()
            release.set()
            response = waiting.result(60)
        assert (response.status, response.body["task"]) == (202, "creating")
        assert served.wait_for_exit() == 0
        assert_log(served, {})
    with serve_gunicorn(tmp_path, **SHAPE) as served:
        next_script = ApiScript(served.send, script.label)
        try:
            assert next_script.wait_until_settled(response.body["id"])["status"] == "RUNNING"
        finally:
            next_script.delete_created_vms()


def is_refused(served: GunicornServer) -> bool:
    """Return whether the server refuses a new request."""
    try:
        return served.send("GET", "/readyz", None).status == 503
    except OSError:
        return True
