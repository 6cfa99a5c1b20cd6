"""The metrics of several gunicorn workers at one address, and of an engine worker at another."""

import os
import signal
import socket
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.support.engine_worker import EngineWorker
from tests.support.http_client import wait_until
from tests.support.metrics import Scrape, ServerWithMetrics, scrape
from tests.support.processes import Gunicorn, free_port

REQUEST_COUNT = "vmapi_http_request_duration_seconds_count"

SYNC_AGE = "vmapi_inventory_sync_age_seconds"


def find_folders(server: Gunicorn) -> list[Path]:
    """Return the folders with the metrics of a server."""
    parents = (Path("/dev/shm"), Path("/tmp"))
    return [path for parent in parents for path in parent.glob(f"vmapi-metrics-{server.pid}-*")]


def list_slots(server: Gunicorn) -> set[str]:
    """Return the slots that have files."""
    paths = [path for folder in find_folders(server) for path in folder.glob("*.db")]
    return {path.stem.rpartition("_")[2] for path in paths}


def wait_for_processes(port: int, count: int) -> None:
    """Wait until as many workers have written their gauges."""
    wait_until(f"{count} processes", lambda: scrape(port).sum("vmapi_processes") == count)


def count_requests(samples: Scrape, route: str) -> float:
    return samples.sum(REQUEST_COUNT, route=route, method="GET", status="200")


def wait_for_requests(port: int, route: str, count: int) -> None:
    """Wait until the workers have written their counts, and check that they are not higher."""
    wait_until("the requests", lambda: count_requests(scrape(port), route) >= count)
    assert count_requests(scrape(port), route) == count


def test_any_worker_reports_the_requests_of_all(shared_server: ServerWithMetrics) -> None:
    for _ in range(40):
        shared_server.api.call.get_json("/api/v1/health")
    wait_for_requests(shared_server.port, "/api/v1/health", 40)
    # several scrapes: each worker answers some
    counts = Counter(
        count_requests(scrape(shared_server.port), "/api/v1/health") for _ in range(10)
    )
    assert counts == {40: 10}


def test_read_that_is_repeated_in_another_thread_counts_once(
    shared_server: ServerWithMetrics,
) -> None:
    api, metrics_port = shared_server.api, shared_server.port
    # the first read of each worker opens the database, which the poller thread does not wait for
    for _ in range(10):
        api.call.get_json("/api/v1/vms")
    wait_for_requests(metrics_port, "/api/v1/vms", 10)
    # a request that another thread repeats would be recorded by now
    api.call.get_json("/api/v1/vms")
    wait_for_requests(metrics_port, "/api/v1/vms", 11)


def test_counters_survive_the_death_of_a_worker(api: Gunicorn, metrics_port: int) -> None:
    for _ in range(20):
        api.call.get_json("/api/v1/health")
    wait_for_requests(metrics_port, "/api/v1/health", 20)
    workers = set(api.child_pids())
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    wait_until("two new workers", lambda: len(set(api.child_pids()) - workers) == 2)
    api.wait_for("/livez")
    api.call.get_json("/api/v1/health")
    wait_for_requests(metrics_port, "/api/v1/health", 21)
    wait_for_processes(metrics_port, 2)
    # the new workers continue the files
    assert list_slots(api) == {"0", "1"}


def test_worker_that_is_replaced_leaves_its_last_values(api: Gunicorn, metrics_port: int) -> None:
    workers = set(api.child_pids())
    for _ in range(20):
        api.call.get_json("/api/v1/health")
    os.kill(api.pid, signal.SIGHUP)
    wait_until("two new workers", lambda: not workers & set(api.child_pids()))
    api.wait_for("/livez")
    wait_for_requests(metrics_port, "/api/v1/health", 20)


def test_malformed_request_is_counted(shared_server: ServerWithMetrics) -> None:
    with socket.create_connection(("127.0.0.1", shared_server.api.port)) as client:
        client.sendall(b"GET /livez HTTP/1.1\r\nno header\r\n\r\n")
        assert client.recv(1024).startswith(b"HTTP/1.1 400 ")
    name, reason = "vmapi_malformed_requests_total", "InvalidHeader"
    wait_until("the count", lambda: scrape(shared_server.port).sum(name, reason=reason) == 1)


def test_stopped_worker_has_no_gauges(api: Gunicorn, metrics_port: int) -> None:
    wait_for_processes(metrics_port, 2)
    os.kill(api.pid, signal.SIGTTOU)
    wait_for_processes(metrics_port, 1)


def test_metrics_are_not_at_the_address_of_the_api(shared_server: ServerWithMetrics) -> None:
    shared_server.api.call("GET", "/metrics").check_problem(404, "not_found")


def test_stopped_server_leaves_no_files(api: Gunicorn) -> None:
    assert len(find_folders(api)) == 1
    api.stop()
    assert find_folders(api) == []


def test_next_server_removes_the_files_of_a_killed_one(api: Gunicorn) -> None:
    (folder,) = find_folders(api)
    api.kill()
    assert folder.exists()
    api.start().wait_for("/readyz")
    assert not folder.exists()
    assert len(find_folders(api)) == 1


def test_files_of_a_living_server_stay(
    gunicorn: Callable[..., Gunicorn], shared_server: ServerWithMetrics
) -> None:
    (folder,) = find_folders(shared_server.api)
    other = gunicorn(VMAPI_METRICS_BIND=f"127.0.0.1:{free_port()}")
    other.start().wait_for("/livez")
    other.stop()
    assert folder.exists()


def test_metrics_address_in_use_stops_the_start(
    gunicorn: Callable[..., Gunicorn], shared_server: ServerWithMetrics
) -> None:
    address = f"127.0.0.1:{shared_server.port}"
    other = gunicorn(VMAPI_METRICS_BIND=address)
    assert other.start().wait_for_exit() == 3
    reason = "(VMAPI_METRICS_BIND): Address already in use"
    assert f"cannot serve at {address} {reason}" in other.read_log()


def test_engine_worker_reports_the_state_of_the_inventory(engine_worker: EngineWorker) -> None:
    syncs = {"full", "changes"}
    # the VMs are saved before the end of the sync
    wait_until(
        "a full sync",
        lambda: scrape(engine_worker.port).labels(SYNC_AGE, "kind") == syncs,
    )
    samples = scrape(engine_worker.port)
    assert samples.sum("vmapi_inventory_vms", status="RUNNING") == 20
    assert samples.sum("vmapi_build_info", role="worker", engine="worker") == 1
    assert samples.labels(SYNC_AGE, "kind") == syncs
    assert samples.sum("vmapi_leader_leases", lease="sync") == 1
