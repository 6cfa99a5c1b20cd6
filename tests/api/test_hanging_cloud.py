"""A cloud that hangs: requests that need it are bounded, all others are served."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.support.api_harness import ApiHarness
from tests.support.blocking_source import GUARD_TIMEOUT, wait_until
from tests.support.fake_clock import Clock
from tests.support.metrics import RecordedMetrics
from tests.support.remote_cloud import NO_CACHE, RemoteBackend, only_vm_id, sync_inventory
from vmapi.domain.lifecycle import Verb
from vmapi.domain.vm import VM

THREADS = 4
LIST_SLOTS = THREADS // 4


class HangingCloud(RemoteBackend):
    """A cloud with `hanging_calls`: methods that wait for `answer`."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.hanging_calls: set[str] = set()
        self.answer = threading.Event()
        self.hanging: list[str] = []

    def _hang(self, name: str) -> None:
        if name in self.hanging_calls:
            self.hanging.append(name)
            assert self.answer.wait(GUARD_TIMEOUT)

    def get_vm(self, vm_id: str) -> VM:
        self._hang("get_vm")
        return super().get_vm(vm_id)

    def list_vms(self, *, name: str | None = None) -> Any:
        self._hang("list_vms")
        return super().list_vms(name=name)

    def list_images(self, *, refresh: bool = False) -> Any:
        self._hang("list_images")
        return super().list_images(refresh=refresh)

    def perform_action(self, vm_id: str, verb: Verb, **more: Any) -> Any:
        self._hang("perform_action")
        return super().perform_action(vm_id, verb, **more)


@pytest.fixture
def backend(clock: Clock) -> Iterator[HangingCloud]:
    backend = HangingCloud(clock=clock, sleep=clock.sleep)
    yield backend
    backend.answer.set()


@pytest.fixture
def remote(harness: ApiHarness) -> ApiHarness:
    """A harness with one RUNNING VM and a current inventory."""
    harness.create_running()
    sync_inventory(harness)
    return harness


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(THREADS + 1) as pool:
        yield pool


def start_requests(
    pool: ThreadPoolExecutor,
    backend: HangingCloud,
    send: Callable[[], TestResponse],
    count: int = THREADS,
) -> list[Future[TestResponse]]:
    """Send as many requests as may wait for the cloud; return when all wait."""
    futures = [pool.submit(send) for _ in range(count)]
    wait_until(lambda: len(backend.hanging) == count)
    return futures


def call(harness: ApiHarness, method: str, path: str, **kwargs: Any) -> TestResponse:
    """Send a request with a new client: a client is for one thread."""
    return harness.app.test_client().open(f"/api/v1{path}", method=method, **kwargs)


@pytest.mark.parametrize("threads", [THREADS])
def test_changes_beyond_the_share_of_a_hanging_cloud_are_503_at_once(
    remote: ApiHarness, backend: HangingCloud, pool: ThreadPoolExecutor
) -> None:
    vm_id = only_vm_id(remote)
    backend.hanging_calls = {"get_vm", "perform_action"}
    reads = start_requests(
        pool, backend, lambda: call(remote, "GET", f"/vms/{vm_id}", headers=NO_CACHE)
    )
    started_at = time.monotonic()
    response = call(remote, "POST", f"/vms/{vm_id}/stop")
    assert time.monotonic() - started_at < GUARD_TIMEOUT / 2
    assert response.json is not None
    assert (response.status_code, response.json["code"]) == (503, "backend_unavailable")
    assert response.headers["Retry-After"] == "2"
    assert "the cloud, which does not respond. Nothing was sent." in response.json["detail"]
    # the inventory and the catalog's cache need no call to the servers of the cloud
    for path in ("/vms", f"/vms/{vm_id}", "/flavors", "/images", "/networks", "/operations"):
        assert call(remote, "GET", path).status_code == 200
    backend.answer.set()
    assert {future.result(GUARD_TIMEOUT).status_code for future in reads} == {200}
    assert call(remote, "POST", f"/vms/{vm_id}/stop").status_code == 202


@pytest.mark.parametrize("threads", [THREADS])
def test_lists_wait_for_a_full_sync_within_the_share_of_the_cloud(
    remote: ApiHarness, backend: HangingCloud, pool: ThreadPoolExecutor, metrics: RecordedMetrics
) -> None:
    backend.hanging_calls = {"list_vms"}
    futures = {
        pool.submit(call, remote, "GET", "/vms", headers=NO_CACHE) for _ in range(THREADS + 1)
    }
    (refused,), waiting = wait(futures, GUARD_TIMEOUT, FIRST_COMPLETED)
    assert refused.result().status_code == 503
    assert metrics.sum("vmapi_bulkhead_refusals_total", dependency="cloud") == 1
    assert call(remote, "GET", "/vms").status_code == 200
    backend.answer.set()
    assert {future.result(GUARD_TIMEOUT).status_code for future in waiting} == {200}


@pytest.mark.parametrize("threads", [THREADS])
def test_image_service_that_hangs_blocks_no_other_list(
    remote: ApiHarness, backend: HangingCloud, pool: ThreadPoolExecutor
) -> None:
    backend.hanging_calls = {"list_images"}
    futures = start_requests(pool, backend, lambda: call(remote, "GET", "/images"), LIST_SLOTS)
    response = call(remote, "GET", "/images")
    assert response.json is not None
    assert (response.status_code, response.json["code"]) == (503, "backend_unavailable")
    assert "the cloud's list of images" in response.json["detail"]
    for path in ("/flavors", "/networks", "/vms"):
        assert call(remote, "GET", path).status_code == 200
    backend.answer.set()
    assert {future.result(GUARD_TIMEOUT).status_code for future in futures} == {200}
