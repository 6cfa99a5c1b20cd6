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

CROWD = f"{RUN_LABEL}-many"
LIVES = 6
READERS = 10
PAUSE = 1.0
"""Seconds between two looks of one client: many who look all the time take the CPU from Nova."""

SHAPE = {"VMAPI_WORKERS": "2", "VMAPI_THREADS": "8"}

patiently = partial(wait_for, interval=PAUSE)

pytestmark = pytest.mark.live


@pytest.fixture
def served(cloud_settings: Settings, tmp_path: Path) -> Iterator[GunicornServer]:
    with serve_gunicorn(tmp_path, **SHAPE) as server:
        yield server


def test_many_clients_at_once(served: GunicornServer, owner: Any) -> None:
    done = Event()
    scripts = [ApiScript(served.send, f"{CROWD}-{n:02}") for n in range(LIVES + READERS)]
    scripts[0].create_body()
    for script in scripts:
        script.defaults = scripts[0].defaults
    with ThreadPoolExecutor(len(scripts)) as pool:
        readers = [
            pool.submit(read, script, done, fresh=number % 2 == 0)
            for number, script in enumerate(scripts[LIVES:])
        ]
        lives = [pool.submit(live, script) for script in scripts[:LIVES]]
        try:
            for life in lives:
                life.result()
        finally:
            done.set()
            for script in scripts[:LIVES]:
                script.delete_created_vms()
        assert all(reader.result() > 0 for reader in readers)
    responses = [response for script in scripts for response in script.responses]
    codes = {response.body["code"] for response in responses if response.status >= 400}
    assert codes <= {"vm_not_found", "task_in_progress"}
    workers = served.worker_pids()
    used = [open_connections(pid, owner.compute.get_endpoint()) for pid in workers]
    assert len(workers) == 2
    assert all(used)
    assert not used[0] & used[1]
    check_log(served, {"vm create succeeded": LIVES, "vm start succeeded": LIVES})


def live(script: ApiScript) -> None:
    """Create, start, stop and delete a VM."""
    made = script.request_vm()
    assert made.status in (201, 202), made
    path = f"/vms/{made.body['id']}"
    patiently(lambda: settled(script, path, "STOPPED"))
    carry_out(script, "POST", f"{path}/start", 200)
    patiently(lambda: settled(script, path, "RUNNING"))
    carry_out(script, "POST", f"{path}/stop", 200)
    patiently(lambda: settled(script, path, "STOPPED"))
    carry_out(script, "DELETE", path, 204)
    script.wait_until_deleted(made.body["id"])


def carry_out(script: ApiScript, method: str, path: str, done: int) -> None:
    """Change a VM, when the worker that changed it last has noticed that this is over, too."""

    def taken_on() -> bool:
        response = script.call(method, path)
        busy = response.status == 409 and response.body["code"] == "task_in_progress"
        assert busy or response.status in (done, 202), response
        return not busy

    patiently(taken_on)


def settled(script: ApiScript, path: str, status: str) -> bool:
    """Look whether a VM has come to a status."""
    vm = script.get(f"{path}/status")
    return (vm["status"], vm["task"]) == (status, None)


def read(script: ApiScript, done: Event, *, fresh: bool) -> int:
    """Read lists until the others are done, and return how often."""
    times = 0
    while not done.wait(4 * PAUSE):
        assert script.get(f"/vms?name={CROWD}-*&page_size=1000", refresh=fresh)["total"] <= LIVES
        times += 1
    return times


def check_log(served: GunicornServer, expected: dict[str, int]) -> None:
    """See that every line of the log is one of ours, and that nothing went wrong."""
    lines = [json.loads(line) for line in served.log.read_text().splitlines()]
    bad = [line for line in lines if line["level"] not in ("info", "debug")]
    bad = [line for line in bad if not line["message"].startswith("VMAPI_AUTH=none")]
    assert not bad
    told = Counter(line["message"] for line in lines)
    assert {message: told[message] for message in expected} == expected


def test_sigterm_lets_answers_out(
    settings_with_proxy: Settings, proxy: NovaProxy, tmp_path: Path
) -> None:
    release = Event()
    with serve_gunicorn(tmp_path, **SHAPE) as served, ThreadPoolExecutor(1) as pool:
        script = ApiScript(served.send, f"{RUN_LABEL}-term")
        with proxy.inject_fault("POST", "/servers$", run_before=lambda: release.wait(30)) as fault:
            waiting = pool.submit(script.request_vm, start=True)
            wait_for(lambda: fault.match_count)
            served.terminate()
            # from now on it takes nobody in
            wait_for(lambda: refuses(served))
            assert not waiting.done()
            release.set()
            response = waiting.result(60)
        assert (response.status, response.body["task"]) == (202, "creating")
        assert served.wait() == 0
        check_log(served, {})
    with serve_gunicorn(tmp_path, **SHAPE) as served:
        again = ApiScript(served.send, script.label)
        try:
            assert again.wait_until_settled(response.body["id"])["status"] == "RUNNING"
        finally:
            again.delete_created_vms()


def refuses(served: GunicornServer) -> bool:
    """Tell whether the door is shut."""
    try:
        return served.send("GET", "/readyz", None).status == 503
    except OSError:
        return True
