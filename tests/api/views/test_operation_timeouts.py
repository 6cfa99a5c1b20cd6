"""Timeouts of operations, and of reads before a change."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from werkzeug.test import TestResponse

from tests.support.api_harness import CREATE_BODY, ApiHarness
from tests.support.remote_cloud import age_inventory, sync_inventory
from vmapi.backends.base import AcceptedAction
from vmapi.backends.memory.driver import MemoryBackend
from vmapi.errors import BackendTimeout, BackendUnavailable

HOUR = 3600
CREATE = {**CREATE_BODY, "start": True}


@contextmanager
def lost_create_response() -> Iterator[None]:
    """Let the cloud create VMs, answer no create, and find no created VM."""
    real = MemoryBackend.create_vm

    def create_vm(*args: object, **kwargs: object) -> AcceptedAction:
        real(*args, **kwargs)
        raise BackendTimeout("late")

    def find_created_vm(*_: object) -> None:
        raise BackendUnavailable("away")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MemoryBackend, "create_vm", create_vm)
        patch.setattr(MemoryBackend, "find_created_vm", find_created_vm)
        yield


def test_504_names_the_vm_found_later(harness: ApiHarness) -> None:
    def create() -> TestResponse:
        headers = {"Idempotency-Key": "k"}
        return harness.call("POST", "/vms", headers=headers, json=CREATE)

    with lost_create_response():
        first = create()
        harness.advance_time(HOUR)
    path = first.json["operation"]
    failed = harness.client.get(path).json
    assert (first.status_code, failed["status"], failed["vm_id"]) == (504, "failed", None)
    age_inventory(harness, 60)
    sync_inventory(harness)
    (vm,) = harness.get_json("/vms")["items"]
    named = {**failed, "vm_id": vm["id"]}
    assert harness.client.get(path).json == named
    again = create()
    assert (again.status_code, again.json["code"]) == (504, "operation_timeout")
    assert (again.json["vm_id"], again.json["operation"]) == (vm["id"], path)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert harness.get_json("/operations")["total"] == 1


@pytest.mark.parametrize("latency", ["stop=3600"])
def test_operation_past_its_deadline_fails(harness: ApiHarness) -> None:
    vm_id = harness.create_running()
    response = harness.post_action(vm_id, "stop")
    harness.advance_time(601)
    operation = harness.get_operation(response)
    assert (operation["status"], operation["error"]["code"]) == ("failed", "operation_timeout")
    assert operation["error"]["status"] == 504
    assert harness.get_vm(vm_id)["status"] == "RUNNING"


@pytest.mark.parametrize("latency", ["create=3600"])
def test_create_past_its_deadline_fails(harness: ApiHarness) -> None:
    headers = {"Idempotency-Key": "k"}
    first = harness.call("POST", "/vms", headers=headers, json=CREATE)
    harness.advance_time(1801)
    again = harness.call("POST", "/vms", headers=headers, json=CREATE)
    assert (first.status_code, again.status_code) == (202, 504)
    assert (again.json["code"], again.json["vm_id"]) == ("operation_timeout", first.json["id"])
    assert harness.get_operation(again)["status"] == "failed"
    assert harness.get_vm(first.json["id"])["status"] == "BUILDING"


def test_create_fails_if_stop_after_build_fails(harness: ApiHarness) -> None:
    harness.backend.set_faults("action_failed=1")
    response = harness.post("/vms", CREATE_BODY)
    assert (response.status_code, response.json["code"]) == (502, "backend_error")
    assert harness.get_operation(response)["vm_id"] == response.json["vm_id"]
    assert harness.get_vm(response.json["vm_id"])["status"] == "RUNNING"


@pytest.mark.parametrize("latency", ["0"])
@pytest.mark.parametrize("action", ["create", "stop"])
def test_timeout_of_a_read_sends_no_change(
    harness: ApiHarness, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    vm_id = harness.create_running("db-1")

    def raise_timeout(*_: object, **__: object) -> None:
        raise BackendTimeout("The cloud did not answer in time.")

    for name in ("list_vms", "list_changes_after"):
        monkeypatch.setattr(MemoryBackend, name, raise_timeout)
    response = (
        harness.post("/vms", CREATE) if action == "create" else harness.post_action(vm_id, action)
    )
    assert (response.status_code, response.json["code"]) == (503, "backend_unavailable")
    assert response.json["detail"] == "The cloud did not answer in time. Nothing was sent."
    assert response.headers["Retry-After"] == "5"
