"""The observer: it saves each observation, and shares full syncs between threads."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import pytest

from tests.support.blocking_source import GUARD_TIMEOUT, wait_until
from tests.support.reconciler_harness import ReconcilerHarness
from vmapi.domain.lifecycle import Verb
from vmapi.domain.pagination import PageRequest
from vmapi.domain.vm import VM, VMQuery
from vmapi.errors import BackendError, BackendTimeout, BackendUnavailable, VMNotFound
from vmapi.services.inventory import observer

UNAVAILABLE = BackendUnavailable("The cloud is unavailable.")


def count_vms(harness: ReconcilerHarness) -> int:
    return harness.store.inventory.list_page(VMQuery(), PageRequest(), harness.clock()).page.total


def script_lists(
    harness: ReconcilerHarness, monkeypatch: pytest.MonkeyPatch, *results: object
) -> None:
    """Let the next lists of the backend return or raise these results."""
    remaining = list(results)

    def list_vms(*, name: str | None = None) -> tuple[VM, ...]:
        result = remaining.pop(0)
        if isinstance(result, Exception):
            raise result
        assert isinstance(result, tuple)
        return result

    monkeypatch.setattr(harness.backend, "list_vms", list_vms)


def block_lists(
    harness: ReconcilerHarness, monkeypatch: pytest.MonkeyPatch, error: Exception | None = None
) -> tuple[list[int], threading.Event]:
    """Let lists of the backend block until the event; return their count and the event."""
    calls, unblock = [0], threading.Event()

    def list_vms(*, name: str | None = None) -> tuple[VM, ...]:
        calls[0] += 1
        assert unblock.wait(GUARD_TIMEOUT)
        if error is not None:
            raise error
        return ()

    monkeypatch.setattr(harness.backend, "list_vms", list_vms)
    return calls, unblock


def count_requests(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that grows with each full sync that has begun to wait for another one."""
    requests: list[int] = []

    def monotonic() -> float:
        now = time.monotonic()
        requests.append(1)
        return now

    monkeypatch.setattr(observer, "time", SimpleNamespace(monotonic=monotonic))
    return requests


def test_shared_failure_is_no_new_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that waits since a failure lists, also if another thread has shared that failure."""
    harness = ReconcilerHarness.build()
    script_lists(harness, monkeypatch, UNAVAILABLE, ())
    times = iter((1.0, 1.0, 2.0))
    monkeypatch.setattr(observer, "time", SimpleNamespace(monotonic=lambda: next(times)))
    with pytest.raises(BackendUnavailable):
        harness.observer.full_sync()
    # the second sync began before the failure, the third one after it
    times = iter((1.5, 3.0))
    with pytest.raises(BackendUnavailable):
        harness.observer.full_sync()
    times = iter((2.5, 2.5))
    harness.observer.full_sync()


def test_full_sync_fetches_a_vm_that_the_list_leaves_out(monkeypatch: pytest.MonkeyPatch) -> None:
    harness = ReconcilerHarness.build()
    harness.running_vm()
    harness.observer.full_sync()
    script_lists(harness, monkeypatch, ())
    harness.observer.full_sync()
    assert count_vms(harness) == 1


def test_full_sync_marks_a_deleted_vm() -> None:
    harness = ReconcilerHarness.build()
    vm_id = harness.running_vm()
    harness.observer.full_sync()
    harness.backend.perform_action(vm_id, Verb.DELETE)
    harness.clock.sleep(1)
    harness.observer.full_sync()
    assert count_vms(harness) == 0


def test_failed_full_sync_deletes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    harness = ReconcilerHarness.build()
    harness.running_vm()
    harness.observer.full_sync()
    script_lists(harness, monkeypatch, UNAVAILABLE, ())
    with pytest.raises(BackendUnavailable):
        harness.observer.full_sync()
    harness.backend.fail("get", UNAVAILABLE)
    with pytest.raises(BackendUnavailable):
        harness.observer.full_sync()
    assert count_vms(harness) == 1


def test_vm_that_cannot_be_read_does_not_fail_the_full_sync(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    harness = ReconcilerHarness.build()
    harness.running_vm()
    script_lists(harness, monkeypatch, ())
    harness.backend.fail("get", BackendError("The cell is down."))
    harness.observer.full_sync()
    assert count_vms(harness) == 1
    assert (
        harness.store.inventory.list_page(VMQuery(), PageRequest(), harness.clock()).age_seconds
        is not None
    )


def test_fetch_of_a_deleted_vm_marks_it() -> None:
    harness = ReconcilerHarness.build()
    vm_id = harness.running_vm()
    harness.backend.fail("get", VMNotFound("gone"))
    with pytest.raises(VMNotFound):
        harness.observer.fetch(vm_id)
    assert count_vms(harness) == 0


def test_fetch_of_a_hidden_vm_keeps_it() -> None:
    harness = ReconcilerHarness.build()
    vm_id = harness.running_vm()
    harness.backend.fail("get", VMNotFound("hidden", hidden=True))
    with pytest.raises(VMNotFound):
        harness.observer.fetch(vm_id)
    assert count_vms(harness) == 1


def test_fetch_changed_leaves_out_vms_with_a_newer_observation() -> None:
    harness = ReconcilerHarness.build()
    vm = harness.observer.fetch(harness.running_vm())
    newer = replace(vm, updated_at=harness.clock.now.replace(year=2999))
    list_changed_since, inventory = harness.backend.list_changed_since, harness.store.inventory

    def overtaken(since: object) -> object:
        inventory.save_observations([newer], inventory.observation_time() + 1_000_000)
        return list_changed_since(vm.created_at)

    harness.backend.list_changed_since = overtaken
    assert harness.observer.fetch_changed(vm.created_at) == []


def test_concurrent_full_syncs_list_the_cloud_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    harness = ReconcilerHarness.build()
    lists, unblock = block_lists(harness, monkeypatch)
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(harness.observer.full_sync)
        wait_until(lambda: lists == [1])
        requests = count_requests(monkeypatch)
        others = [pool.submit(harness.observer.full_sync) for _ in range(7)]
        wait_until(lambda: len(requests) == 7)
        unblock.set()
        for future in (first, *others):
            future.result(GUARD_TIMEOUT)
    # the first began before the others were requested: one more serves all of them
    assert lists == [2]


def test_threads_that_wait_for_a_failing_full_sync_share_its_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    harness = ReconcilerHarness.build()
    lists, unblock = block_lists(harness, monkeypatch, UNAVAILABLE)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(harness.observer.full_sync)
        wait_until(lambda: lists == [1])
        with pytest.raises(BackendTimeout):
            harness.observer.full_sync(0.01)
        requests = count_requests(monkeypatch)
        second = pool.submit(harness.observer.full_sync)
        wait_until(lambda: requests == [1])
        unblock.set()
        for future in (first, second):
            with pytest.raises(BackendUnavailable):
                future.result(GUARD_TIMEOUT)
    assert lists == [1]
