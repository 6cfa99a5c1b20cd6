"""A Nova that is slow in every call: threads stay few, and changes finish once it is fast again."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.http_client import HttpClient, HttpResponse, wait_until
from tests.support.kill_test import build_settings
from tests.support.metrics import ServerWithMetrics, scrape
from tests.support.processes import Gunicorn, free_port
from tests.support.stateful_nova import StatefulNova, run_stateful_nova
from vmapi.settings.settings import Settings

pytestmark = pytest.mark.disruption

VMS = "/api/v1/vms"
NEW_VM = {"flavor": "m1.tiny", "image": "cirros"}
THREADS = 4
OTHER_THREADS = 40
"""Threads of a process besides those of requests."""

CHANGES = 150
"""More than the threads of the process."""

SLOW_SECONDS = 20.0
"""How long Nova is slow: several times the timeout."""

BACKEND_TIMEOUT_SECONDS = 2
RECOVERY_SECONDS = 200.0
"""Longer than the search for the outcome of a create."""

PROBLEMS = {
    (503, "backend_unavailable"),
    (503, "overloaded"),
    (503, "store_unavailable"),
    (504, "backend_timeout"),
}


@pytest.fixture
def cloud() -> Iterator[tuple[str, StatefulNova]]:
    with run_stateful_nova(loses_responses=False) as cloud:
        yield cloud


@pytest.fixture
def server(
    gunicorn: Callable[..., Gunicorn], cloud: tuple[str, StatefulNova], tmp_path: Path
) -> ServerWithMetrics:
    settings = {
        **build_settings(cloud[0], tmp_path),
        "VMAPI_BACKEND_TIMEOUT": str(BACKEND_TIMEOUT_SECONDS),
        "VMAPI_RATE_ADDRESS": "off",
        "VMAPI_RATE_CHANGES": "off",
        "VMAPI_RATE_READS": "off",
        "VMAPI_THREADS": str(THREADS),
        "VMAPI_WORKERS": "1",
    }
    port = free_port()
    api = gunicorn(VMAPI_METRICS_BIND=f"127.0.0.1:{port}", **settings)
    api.start().wait_for("/readyz")
    return ServerWithMetrics(api, port)


def count_threads(server: Gunicorn) -> int:
    """Return the threads of the worker."""
    (worker,) = server.child_pids()
    status = Path(f"/proc/{worker}/status").read_text()
    return int(status.partition("Threads:")[2].split()[0])


def create(server: Gunicorn, name: str) -> HttpResponse:
    return HttpClient(server.port)("POST", VMS, {"name": name, **NEW_VM})


def count_creates(response: HttpResponse) -> int:
    """Return how often Nova makes the VM of a response, which is final or a problem."""
    if response.status in (201, 202):
        return 1
    assert (response.status, response.json["code"]) in PROBLEMS, response
    return int("operation" in response.json)


def read_slow_time(server: Gunicorn, vm_id: str) -> int:
    """Read from the inventory while Nova is slow; return the most threads of the worker."""
    most_threads = 0
    end = time.monotonic() + SLOW_SECONDS
    while time.monotonic() < end:
        assert server.call("GET", f"{VMS}/{vm_id}").json["name"] == "web-1"
        assert server.call("GET", f"{VMS}?name=web-1").json["items"]
        most_threads = max(most_threads, count_threads(server))
        time.sleep(0.2)
    return most_threads


def has_unfinished(server: Gunicorn) -> bool:
    """Return whether an operation is in progress."""
    return bool(server.call.get_json("/api/v1/operations?status=running")["items"])


def check_reports(server: ServerWithMetrics) -> None:
    """Check that the probe and the metrics report a slow Nova."""
    readiness = server.api.call("GET", "/readyz").json
    assert (readiness["status"], readiness["dependencies"]["store"]) == ("degraded", "ok")
    assert readiness["dependencies"]["backend"] in ("backend_timeout", "backend_unavailable")
    seconds = scrape(server.port).sum("vmapi_openstack_request_duration_seconds_sum")
    assert seconds > BACKEND_TIMEOUT_SECONDS


@pytest.mark.parametrize("delay_seconds", [1.5, 6.0], ids=["below_timeout", "above_timeout"])
def test_changes_finish_after_a_slow_time_of_nova(
    server: ServerWithMetrics, cloud: tuple[str, StatefulNova], delay_seconds: float
) -> None:
    api, nova = server.api, cloud[1]
    created = api.call("POST", VMS, {"name": "web-1", **NEW_VM}, headers={"Prefer": "wait=20"})
    assert created.status == 201, created
    nova.delay_seconds = delay_seconds
    names = [f"slow-{number}" for number in range(CHANGES)]
    with ThreadPoolExecutor(CHANGES) as pool:
        pending = [pool.submit(create, api, name) for name in names]
        most_threads = read_slow_time(api, created.json["id"])
        check_reports(server)
        nova.delay_seconds = 0.0
        responses = [future.result() for future in pending]
    assert most_threads <= Settings(threads=THREADS).request_threads + OTHER_THREADS
    creates = {
        name: count_creates(response) for name, response in zip(names, responses, strict=True)
    }
    wait_until("a ready server", lambda: api.call("GET", "/readyz").json["status"] == "ready")
    wait_until("the end of each operation", lambda: not has_unfinished(api), RECOVERY_SECONDS)
    assert {name: nova.creates[name] for name in names} == creates
    # nothing was sent for these
    failed = api.call.get_json("/api/v1/operations?status=failed&page_size=100")["items"]
    assert {operation["error"]["code"] for operation in failed} <= {"backend_unavailable"}
    if delay_seconds > BACKEND_TIMEOUT_SECONDS:
        api.wait_for_line(message="circuit breaker opened")
        api.wait_for_line(message="circuit breaker closed")
