"""Changes while another request saves the changes of the cloud: their VM cannot be read again."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import pytest
from werkzeug.test import TestResponse

from tests.support.api_harness import CREATE_BODY, ApiHarness
from vmapi.errors import StoreUnavailable, TaskInProgress
from vmapi.store.connections.answer_timeout import answer_timeout

KEY = {"Idempotency-Key": "k"}


@contextmanager
def blocked_feed(harness: ApiHarness) -> Iterator[None]:
    """Hold the lock of the change feed, as a request with a slow save does."""
    with harness.services.observer._feed._lock, answer_timeout(0.05):
        yield


def check_unavailable(response: TestResponse) -> None:
    assert (response.status_code, response.json["code"]) == (503, "store_unavailable")
    assert response.json["detail"] == "The changes of the cloud cannot be saved now."
    assert response.headers["Retry-After"] == "5"
    # not the outcome of a change: a client keeps its key
    assert "Idempotent-Replayed" not in response.headers


def test_created_vm_is_answered_and_its_replay_waits(harness: ApiHarness) -> None:
    assert harness.get_json("/vms")["total"] == 0
    with blocked_feed(harness):
        created = harness.call("POST", "/vms", json=CREATE_BODY, headers=KEY)
        assert (created.status_code, created.json["status"]) == (201, "STOPPED")
        check_unavailable(harness.call("GET", "/vms"))
        check_unavailable(harness.call("POST", "/vms", json=CREATE_BODY, headers=KEY))
    replay = harness.call("POST", "/vms", json=CREATE_BODY, headers=KEY)
    assert (replay.status_code, replay.headers["Idempotent-Replayed"]) == (201, "true")
    assert replay.json["id"] == created.json["id"]
    assert harness.get_json("/vms")["total"] == 1


def test_replay_of_a_failed_build_waits_too(harness: ApiHarness) -> None:
    harness.backend.set_faults("no_capacity=1")
    created = harness.call("POST", "/vms", json=CREATE_BODY, headers=KEY)
    assert (created.status_code, created.json["status"]) == (201, "ERROR")
    with blocked_feed(harness):
        harness.create("web-2")
        check_unavailable(harness.call("POST", "/vms", json=CREATE_BODY, headers=KEY))
    replay = harness.call("POST", "/vms", json=CREATE_BODY, headers=KEY)
    assert (replay.status_code, replay.headers["Idempotent-Replayed"]) == (201, "true")
    assert replay.json["id"] == created.json["id"]


@pytest.mark.parametrize(("action", "status"), [("stop", "STOPPED"), ("pause", "PAUSED")])
def test_action_is_answered(harness: ApiHarness, action: str, status: str) -> None:
    vm_id = harness.create_running()
    with blocked_feed(harness):
        changed = harness.post_action(vm_id, action)
    assert (changed.status_code, changed.json["status"]) == (200, status)


def test_refusal_of_the_cloud_is_answered(
    harness: ApiHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    vm_id = harness.create_running()

    def fail_read() -> NoReturn:
        raise StoreUnavailable("The changes of the cloud cannot be saved now.")

    def refuse(*_: object, **__: object) -> NoReturn:
        monkeypatch.setattr(harness.services.observer, "read_change_feed", fail_read)
        raise TaskInProgress("The VM is busy.")

    monkeypatch.setattr(harness.backend, "perform_action", refuse)
    refused = harness.post_action(vm_id, "stop")
    assert (refused.status_code, refused.json["code"]) == (409, "task_in_progress")
    assert refused.json["detail"] == "The VM is busy."
