"""Names are unique among the live VMs, whoever asks and however many at once."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from tests.support.api_harness import BASE, CREATE_BODY, ApiHarness
from vmapi.backends.memory.catalog import FLAVORS, IMAGES
from vmapi.domain.vm import CreateSpec

slow = pytest.mark.parametrize("latency", ["1"], ids=["slow"])


def test_name_of_vm_is_taken(world: ApiHarness) -> None:
    vm_id = world.create_running("web-1")
    operations = world.get_json("/operations")["total"]
    answer = world.post("/vms", CREATE_BODY)
    assert (answer.status_code, answer.json["code"]) == (409, "name_taken")
    assert answer.json["vm_id"] == vm_id
    assert "operation" not in answer.json
    assert world.get_json("/operations")["total"] == operations
    assert world.create("Web-1")["name"] == "Web-1"


@slow
def test_name_of_vm_in_creation_is_taken(world: ApiHarness) -> None:
    vm_id = world.create("web-1")["id"]
    answer = world.post("/vms", CREATE_BODY)
    assert (answer.status_code, answer.json["vm_id"]) == (409, vm_id)


def test_name_is_reserved_by_create_before_vm_exists(world: ApiHarness) -> None:
    world.backend.set_faults("lost_answer=1")
    first = world.post("/vms", CREATE_BODY)
    assert first.status_code == 504
    second = world.post("/vms", CREATE_BODY)
    assert (second.status_code, second.json["code"]) == (409, "name_taken")
    assert second.json["operation"] == first.json["operation"]
    assert second.headers["Operation-Location"] == first.json["operation"]
    assert "vm_id" not in second.json


def test_name_of_external_vm_is_taken(world: ApiHarness) -> None:
    spec = CreateSpec("web-1", min(FLAVORS), min(IMAGES), None, {}, None, None, ())
    outside = world.backend.create_vm(spec, "somebody else's").vm_id
    answer = world.post("/vms", CREATE_BODY)
    assert (answer.status_code, answer.json["vm_id"]) == (409, outside)


def test_name_is_free_after_delete_or_refusal(world: ApiHarness) -> None:
    world.call("DELETE", f"/vms/{world.create_running('web-1')}")
    refused = world.post("/vms", {**CREATE_BODY, "key_name": "nobody's"})
    assert (refused.status_code, refused.json["code"]) == (422, "key_not_found")
    world.backend.set_faults("unavailable=100%")
    assert world.post("/vms", CREATE_BODY).status_code == 503
    world.backend.set_faults("")
    assert world.post("/vms", CREATE_BODY).status_code == 201


def test_reservation_is_released_when_check_fails(
    world: ApiHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(world.backend, "list_vms", lambda name: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            world.post("/vms", CREATE_BODY)
    assert world.get_json("/operations")["total"] == 0
    assert world.post("/vms", CREATE_BODY).status_code == 201


def test_rename_checks_and_moves_the_name(world: ApiHarness) -> None:
    first, second = world.create_running("web-1"), world.create_running("web-2")
    taken = world.call("PATCH", f"/vms/{second}", json={"name": "web-1"})
    assert (taken.status_code, taken.json["code"], taken.json["vm_id"]) == (
        409,
        "name_taken",
        first,
    )
    assert world.get_vm(second)["name"] == "web-2"
    assert world.call("PATCH", f"/vms/{first}", json={"name": "web-3"}).status_code == 200
    assert world.call("PATCH", f"/vms/{second}", json={"name": "web-1"}).status_code == 200


@slow
def test_rename_to_reserved_name_is_refused(world: ApiHarness) -> None:
    vm_id = world.create_running("web-2")
    other = world.create("web-1")["id"]
    answer = world.call("PATCH", f"/vms/{vm_id}", json={"name": "web-1"})
    assert (answer.status_code, answer.json["code"], answer.json["vm_id"]) == (
        *(409, "name_taken"),
        other,
    )


def test_one_of_fifty_concurrent_creates_gets_the_name(world: ApiHarness) -> None:
    start = Barrier(50)

    def create(_: int) -> int:
        client = world.client
        start.wait()
        return client.post(f"{BASE}/vms", json=CREATE_BODY).status_code

    with ThreadPoolExecutor(50) as pool:
        answers = Counter(pool.map(create, range(50)))
    assert answers == {201: 1, 409: 49}
    assert len(world.backend.list_vms()) == 1
    assert world.get_json("/operations")["total"] == 1


def test_engine_leaves_unverified_create_to_its_request(
    world: ApiHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    def looked_for(*, name: str | None = None) -> list[object]:
        world.reconcile_once()
        return []

    with monkeypatch.context() as patched:
        patched.setattr(world.backend, "list_vms", looked_for)
        assert world.post("/vms", CREATE_BODY).status_code == 201
    assert len(world.backend.list_vms()) == 1
