"""VM names are unique among live VMs, also under concurrency."""

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from tests.support.api_harness import BASE, CREATE_BODY, ApiHarness
from vmapi.backends.memory.catalog import FLAVORS, IMAGES
from vmapi.domain.vm import VM, CreateSpec
from vmapi.errors import BackendUnavailable


def unproven_name(check: Callable[[], object]) -> Callable[..., Sequence[VM]]:
    """Return a `list_vms` that runs a check when an operation has reserved a name."""
    failures = [BackendUnavailable("unavailable")]

    def list_vms(*, name: str | None = None) -> Sequence[VM]:
        if name is not None and failures:
            # nothing proves that the name is free: the operation is inserted first
            raise failures.pop()
        if name is not None:
            check()
        return ()

    return list_vms


slow = pytest.mark.parametrize("latency", ["1"], ids=["slow"])


def test_name_of_vm_is_taken(harness: ApiHarness) -> None:
    vm_id = harness.create_running("web-1")
    operations = harness.get_json("/operations")["total"]
    response = harness.post("/vms", CREATE_BODY)
    assert (response.status_code, response.json["code"]) == (409, "name_taken")
    assert response.json["vm_id"] == vm_id
    assert "operation" not in response.json
    assert harness.get_json("/operations")["total"] == operations
    assert harness.create("Web-1")["name"] == "Web-1"


@slow
def test_name_of_vm_in_creation_is_taken(harness: ApiHarness) -> None:
    vm_id = harness.create("web-1")["id"]
    response = harness.post("/vms", CREATE_BODY)
    assert (response.status_code, response.json["vm_id"]) == (409, vm_id)


def test_name_is_reserved_by_create_before_vm_exists(harness: ApiHarness) -> None:
    harness.backend.set_faults("lost_answer=1")
    first = harness.post("/vms", CREATE_BODY)
    assert first.status_code == 504
    second = harness.post("/vms", CREATE_BODY)
    assert (second.status_code, second.json["code"]) == (409, "name_taken")
    assert second.json["operation"] == first.json["operation"]
    assert second.headers["Operation-Location"] == first.json["operation"]
    assert "vm_id" not in second.json


def test_name_of_external_vm_is_taken(harness: ApiHarness) -> None:
    spec = CreateSpec("web-1", min(FLAVORS), min(IMAGES), None, {}, None, None, ())
    outside = harness.backend.create_vm(spec, "another-operation").vm_id
    response = harness.post("/vms", CREATE_BODY)
    assert (response.status_code, response.json["vm_id"]) == (409, outside)


def test_name_is_free_after_delete_or_refusal(harness: ApiHarness) -> None:
    harness.call("DELETE", f"/vms/{harness.create_running('web-1')}")
    refused = harness.post("/vms", {**CREATE_BODY, "key_name": "unknown-key"})
    assert (refused.status_code, refused.json["code"]) == (422, "key_not_found")
    harness.backend.set_faults("unavailable=100%")
    assert harness.post("/vms", CREATE_BODY).status_code == 503
    harness.backend.set_faults("")
    assert harness.post("/vms", CREATE_BODY).status_code == 201


def test_reservation_is_released_when_check_fails(
    harness: ApiHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(harness.backend, "list_vms", unproven_name(lambda: 1 / 0))
        with pytest.raises(ZeroDivisionError):
            harness.post("/vms", CREATE_BODY)
    assert harness.get_json("/operations")["total"] == 0
    assert harness.post("/vms", CREATE_BODY).status_code == 201


def test_rename_checks_and_moves_the_name(harness: ApiHarness) -> None:
    first, second = harness.create_running("web-1"), harness.create_running("web-2")
    taken = harness.call("PATCH", f"/vms/{second}", json={"name": "web-1"})
    assert (taken.status_code, taken.json["code"], taken.json["vm_id"]) == (
        409,
        "name_taken",
        first,
    )
    assert harness.get_vm(second)["name"] == "web-2"
    assert harness.call("PATCH", f"/vms/{first}", json={"name": "web-3"}).status_code == 200
    assert harness.call("PATCH", f"/vms/{second}", json={"name": "web-1"}).status_code == 200


@slow
def test_rename_to_reserved_name_is_refused(harness: ApiHarness) -> None:
    vm_id = harness.create_running("web-2")
    other = harness.create("web-1")["id"]
    response = harness.call("PATCH", f"/vms/{vm_id}", json={"name": "web-1"})
    assert (response.status_code, response.json["code"], response.json["vm_id"]) == (
        *(409, "name_taken"),
        other,
    )


def test_one_of_fifty_concurrent_creates_gets_the_name(harness: ApiHarness) -> None:
    start = Barrier(50)

    def create(_: int) -> int:
        client = harness.client
        start.wait()
        return client.post(f"{BASE}/vms", json=CREATE_BODY).status_code

    with ThreadPoolExecutor(50) as pool:
        responses = Counter(pool.map(create, range(50)))
    assert responses == {201: 1, 409: 49}
    assert len(harness.backend.list_vms()) == 1
    assert harness.get_json("/operations")["total"] == 1


def test_engine_leaves_unverified_create_to_its_request(
    harness: ApiHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(harness.backend, "list_vms", unproven_name(harness.reconcile_once))
        assert harness.post("/vms", CREATE_BODY).status_code == 201
    assert len(harness.backend.list_vms()) == 1
