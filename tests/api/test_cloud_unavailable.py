"""An unreachable or hanging cloud: responses during the outage and after it."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from tests.support.api_harness import CREATE_BODY, ApiHarness
from tests.support.blocking_source import GUARD_TIMEOUT, wait_until
from tests.support.fake_clock import Clock
from tests.support.remote_cloud import (
    NO_CACHE,
    RemoteBackend,
    age_inventory,
    only_vm_id,
    read_paths,
    response_age,
    sync_inventory,
)
from vmapi.backends.circuit_breaker import FAILURE_THRESHOLD
from vmapi.domain.lifecycle import Verb
from vmapi.domain.vm import VM
from vmapi.errors import StoreUnavailable
from vmapi.services import health
from vmapi.services.health import ReadinessChecks
from vmapi.services.inventory import reader


class HangingCloud(RemoteBackend):
    """A cloud that blocks calls until `go` is set; `sent` counts changes."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.hangs = False
        self.go = threading.Event()
        self.pings = self.sent = self.hung = 0

    def hang(self) -> None:
        if self.hangs:
            self.hung += 1
            assert self.go.wait(GUARD_TIMEOUT)

    def ping(self) -> None:
        self.pings += 1
        self.hang()
        super().ping()

    def get_vm(self, vm_id: str) -> VM:
        self.hang()
        return super().get_vm(vm_id)

    def list_vms(self, *, name: str | None = None) -> Any:
        self.hang()
        return super().list_vms(name=name)

    def list_changed_since(self, since: datetime) -> Any:
        self.hang()
        return super().list_changed_since(since)

    def perform_action(self, vm_id: str, verb: Verb, **more: Any) -> Any:
        self.sent += 1
        return super().perform_action(vm_id, verb, **more)


@pytest.fixture
def backend(clock: Clock) -> Iterator[HangingCloud]:
    backend = HangingCloud(clock=clock, sleep=clock.sleep)
    yield backend
    backend.go.set()


@pytest.fixture
def remote(harness: ApiHarness) -> ApiHarness:
    """A harness with one RUNNING VM, web-1, and a current inventory."""
    harness.create_running()
    sync_inventory(harness)
    return harness


def make_unreachable(harness: ApiHarness) -> None:
    """Make the cloud unreachable and open the circuit breaker."""
    harness.backend.set_faults("unavailable=100%")
    for _ in range(FAILURE_THRESHOLD):
        harness.services.backend.breaker.probe()


def make_reachable(harness: ApiHarness) -> None:
    harness.backend.set_faults("")
    harness.services.backend.breaker.probe()


def list_changes(vm_id: str) -> list[tuple[str, str, Any]]:
    return [
        ("POST", "/vms", {**CREATE_BODY, "name": "web-2"}),
        ("POST", f"/vms/{vm_id}/stop", None),
        ("PATCH", f"/vms/{vm_id}", {"name": "web-3"}),
        ("PATCH", f"/vms/{vm_id}", {"metadata": {"a": "b"}}),
        ("DELETE", f"/vms/{vm_id}", None),
    ]


def test_changes_are_refused_and_release_their_keys(remote: ApiHarness) -> None:
    vm_id = only_vm_id(remote)
    make_unreachable(remote)
    assert isinstance(remote.backend, HangingCloud)
    calls_before, sent = remote.backend.calls[:], remote.backend.sent
    for number, (method, path, body) in enumerate(list_changes(vm_id)):
        kwargs = {} if body is None else {"json": body}
        response = remote.call(method, path, headers={"Idempotency-Key": f"k{number}"}, **kwargs)
        assert (response.status_code, response.json["code"]) == (503, "backend_unavailable")
        assert (response.headers["Retry-After"], "operation" in response.json) == ("2", False)
        assert "Nothing was sent" in response.json["detail"]
    assert (remote.backend.calls, remote.backend.sent) == (calls_before, sent)
    failed = remote.get_json("/operations?status=failed")["items"]
    assert {item["error"]["code"] for item in failed} == {"backend_unavailable"}
    assert remote.get_json("/operations?status=running")["items"] == []
    make_reachable(remote)
    key = {"Idempotency-Key": "k1"}
    assert remote.call("POST", f"/vms/{vm_id}/stop", headers=key).status_code == 202


def test_bulk_is_refused_and_replays_work(remote: ApiHarness) -> None:
    vm_id = only_vm_id(remote)
    bulk_request = {"json": {"action": "stop", "ids": [vm_id]}, "headers": {"Idempotency-Key": "k"}}
    (begun,) = remote.call("POST", "/vms/actions", **bulk_request).json["items"]
    make_unreachable(remote)
    (repeated,) = remote.call("POST", "/vms/actions", **bulk_request).json["items"]
    assert repeated["operation"]["id"] == begun["operation"]["id"]
    response = remote.post("/vms/actions", {"action": "delete", "ids": [vm_id]})
    assert (response.status_code, response.json["code"]) == (503, "backend_unavailable")
    assert response.headers["Retry-After"] == "2"
    assert remote.get_json("/operations")["total"] == 2


def test_cached_reads_work_and_cloud_reads_are_503(remote: ApiHarness) -> None:
    vm_id = only_vm_id(remote)
    make_unreachable(remote)
    age_inventory(remote, 60)
    for path in read_paths(vm_id):
        assert response_age(remote.call("GET", path)) >= 60
        response = remote.call("GET", path, headers=NO_CACHE)
        assert (response.status_code, response.headers["Retry-After"]) == (503, "2")
    for path in ("/flavors", "/images", "/networks", f"/vms/{vm_id}/console"):
        assert remote.call("GET", path).json["code"] == "backend_unavailable"


def test_started_operation_continues_when_cloud_returns(remote: ApiHarness) -> None:
    response = remote.post_action(only_vm_id(remote), "stop")
    assert response.status_code == 202
    make_unreachable(remote)
    remote.advance_time(30)
    assert remote.get_operation(response)["status"] == "running"
    make_reachable(remote)
    remote.run_until_settled()
    assert remote.get_operation(response)["status"] == "succeeded"


def test_unsent_step_is_sent_when_cloud_returns(remote: ApiHarness) -> None:
    vm_id = only_vm_id(remote)
    remote.post_action(vm_id, "pause")
    remote.run_until_settled()
    response = remote.post_action(vm_id, "stop")
    assert isinstance(remote.backend, HangingCloud)
    sent = remote.backend.sent
    make_unreachable(remote)
    remote.advance_time(30)
    assert remote.backend.sent == sent
    make_reachable(remote)
    remote.run_until_settled()
    assert remote.get_operation(response)["status"] == "succeeded"


@pytest.mark.parametrize("path", ["/vms", "/vms/{}", "/vms/{}/status"])
def test_read_does_not_wait_for_hanging_cloud(
    remote: ApiHarness, backend: HangingCloud, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(reader, "READ_REFRESH_TIMEOUT", 0.01)
    vm_id = only_vm_id(remote)
    age_inventory(remote, 60)
    backend.hangs = True
    assert response_age(remote.call("GET", path.format(vm_id))) >= 60
    # the refresh continues in the background and updates the inventory
    backend.go.set()
    wait_until(lambda: response_age(remote.call("GET", path.format(vm_id))) < 60)
    assert backend.hung >= 1


def test_no_cache_read_does_not_wait_for_suspect_cloud(
    remote: ApiHarness, backend: HangingCloud
) -> None:
    backend.hangs = True
    sync = threading.Thread(target=remote.services.periodic_tasks["full-sync"], daemon=True)
    age_inventory(remote, 7200)
    sync.start()
    wait_until(lambda: backend.hung == 1)
    backend.hangs = False
    make_unreachable(remote)
    assert remote.call("GET", "/vms", headers=NO_CACHE).status_code == 503
    backend.go.set()
    sync.join(GUARD_TIMEOUT)


def build_readiness(
    harness: ApiHarness,
    now: Callable[[], float] = time.monotonic,
    ping_store: Callable[[], None] | None = None,
    backend_timeout: float = GUARD_TIMEOUT,
) -> ReadinessChecks:
    """Build the checks of an app."""
    return ReadinessChecks(
        harness.services.backend.ping,
        ping_store or harness.services.store.ping,
        now,
        backend_timeout=backend_timeout,
        store_timeout=GUARD_TIMEOUT,
    )


def serve_with(harness: ApiHarness, readiness: ReadinessChecks) -> None:
    harness.app.extensions["vmapi"] = replace(harness.services, readiness=readiness)


def test_readyz_does_not_wait_for_hanging_cloud(
    harness: ApiHarness, backend: HangingCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "HEALTH_CACHE_TTL", 0.0)
    serve_with(harness, build_readiness(harness, backend_timeout=0.05))
    backend.hangs = True
    for _ in range(3):
        response = harness.client.get("/readyz")
        assert (response.status_code, response.json) == (
            200,
            {"status": "degraded", "dependencies": {"backend": "backend_timeout", "store": "ok"}},
        )
    # a check sends no second ping while one hangs
    wait_until(lambda: backend.pings == 1)
    backend.go.set()
    wait_until(lambda: harness.client.get("/readyz").json["status"] == "ready")


def test_readyz_caches_health_checks(harness: ApiHarness, backend: HangingCloud) -> None:
    now = [0.0]
    readiness = build_readiness(harness, lambda: now[0])
    for _ in range(5):
        assert set(readiness.statuses().values()) == {"ok"}
    assert backend.pings == 1
    backend.set_faults("unavailable=100%")
    assert readiness.statuses()["backend"] == "ok"
    now[0] += health.HEALTH_CACHE_TTL
    assert readiness.statuses() == {"backend": "backend_unavailable", "store": "ok"}
    assert backend.pings == 2


def test_readyz_without_store_is_unavailable(harness: ApiHarness) -> None:
    def fail() -> None:
        raise StoreUnavailable("no response")

    serve_with(harness, build_readiness(harness, ping_store=fail))
    response = harness.client.get("/readyz")
    assert (response.status_code, response.json) == (
        503,
        {
            "status": "unavailable",
            "dependencies": {"backend": "ok", "store": "store_unavailable"},
        },
    )
