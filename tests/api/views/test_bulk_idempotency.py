"""POST /vms/actions under an Idempotency-Key: for the VMs that it was for at first."""

from datetime import timedelta
from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.support.api_harness import UNKNOWN_ID, ApiHarness
from vmapi.services.operations.submission import OperationSubmitter
from vmapi.store.operations.transitions import IDEMPOTENCY_KEY_TTL

RUNNING = {"action": "stop", "filter": {"status": ["RUNNING"]}}


def act(world: ApiHarness, body: Any, key: str = "k") -> TestResponse:
    return world.call("POST", "/vms/actions", json=body, headers={"Idempotency-Key": key})


def items(answer: TestResponse) -> list[Any]:
    assert answer.status_code == 202, answer.text
    found: list[Any] = answer.json["items"]  # type: ignore[index]
    return found


def replayed(answer: TestResponse) -> bool:
    return answer.headers.get("Idempotent-Replayed") == "true"


def again(found: list[Any]) -> list[Any]:
    """Return what a repeat says while the operations are as they were."""
    return [{**item, "replayed": True} if "operation" in item else item for item in found]


def test_repeated_bulk_is_replayed(world: ApiHarness) -> None:
    ids = [world.create_running(f"web-{n}") for n in range(3)]
    wanted = {"action": "stop", "ids": ids}
    first = act(world, wanted)
    assert not replayed(first)
    assert not any("replayed" in item for item in items(first))
    second = act(world, wanted)
    assert (items(second), replayed(second)) == (again(items(first)), True)
    world.run_until_settled()
    third = items(act(world, wanted))
    assert [item["operation"]["status"] for item in third] == ["succeeded"] * 3
    assert world.get_json("/operations?action=stop")["total"] == 3


def test_repeat_retries_refused_vms(world: ApiHarness) -> None:
    wanted = {"action": "stop", "ids": [world.create_running(), UNKNOWN_ID]}
    first = act(world, wanted)
    second = act(world, wanted)
    assert (items(second), replayed(second)) == (again(items(first)), False)


def test_repeat_uses_vms_of_first_request(world: ApiHarness) -> None:
    ids = {world.create_running(f"web-{n}") for n in range(2)}
    first = items(act(world, RUNNING))
    world.run_until_settled()
    other = world.create_running("web-3")
    second = act(world, RUNNING)
    assert replayed(second)
    assert {item["vm_id"] for item in items(second)} == ids
    was = [item["operation"]["id"] for item in first]
    assert [item["operation"]["id"] for item in items(second)] == was
    assert {item["operation"]["status"] for item in items(second)} == {"succeeded"}
    world.run_until_settled()
    assert world.get_vm(other)["status"] == "RUNNING"


def test_repeat_after_deletion_is_replayed(world: ApiHarness) -> None:
    world.create_running()
    wanted = {"action": "delete", "filter": {"name": "web-*"}}
    first = items(act(world, wanted))
    world.run_until_settled()
    world.create_running("web-2")
    second = act(world, wanted)
    (item,) = items(second)
    assert replayed(second)
    assert item["operation"]["id"] == first[0]["operation"]["id"]
    assert item["operation"]["status"] == "succeeded"
    assert world.get_json("/vms")["total"] == 1


def test_repeat_of_empty_selection_stays_empty(world: ApiHarness) -> None:
    assert items(act(world, RUNNING)) == []
    vm_id = world.create_running()
    second = act(world, RUNNING)
    assert (items(second), replayed(second)) == ([], False)
    assert world.get_vm(vm_id)["status"] == "RUNNING"
    assert len(items(act(world, RUNNING, "other"))) == 1


def test_repeat_completes_interrupted_bulk(
    world: ApiHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = {world.create_running(f"web-{n}") for n in range(3)}
    enqueue, begun = OperationSubmitter.enqueue, []

    def dying(submission: OperationSubmitter, *given: Any) -> Any:
        if begun:
            raise RuntimeError("the process dies")
        begun.append(enqueue(submission, *given))
        return begun[0]

    monkeypatch.setattr(OperationSubmitter, "enqueue", dying)
    with pytest.raises(RuntimeError):
        act(world, RUNNING)
    monkeypatch.undo()
    world.run_until_settled()
    other = world.create_running("web-3")
    second = act(world, RUNNING)
    assert {item["vm_id"] for item in items(second)} == ids
    assert not replayed(second)
    earlier = [item["operation"]["id"] for item in items(second) if "replayed" in item]
    assert earlier == [begun[0].id]
    world.run_until_settled()
    assert {world.get_vm(vm_id)["status"] for vm_id in ids} == {"STOPPED"}
    assert world.get_vm(other)["status"] == "RUNNING"
    assert replayed(act(world, RUNNING))


@pytest.mark.parametrize(
    "other",
    [
        {"action": "start", "filter": {"status": ["RUNNING"]}},
        {"action": "stop", "filter": {"status": ["STOPPED"]}},
        {"action": "stop", "ids": [UNKNOWN_ID]},
    ],
)
def test_key_of_another_bulk_is_refused(world: ApiHarness, other: Any) -> None:
    vm_id = world.create_running()
    by_id = {"action": "stop", "ids": [vm_id]}
    for key, first in (("k", RUNNING), ("l", by_id)):
        items(act(world, first, key))
        answer = act(world, other, key)
        assert (answer.status_code, answer.json["code"]) == (422, "idempotency_key_reused")
    world.run_until_settled()
    assert world.get_json("/operations?action=start")["total"] == 0
    assert world.get_json("/operations?action=stop")["total"] == 1


def test_key_expires_after_a_day(world: ApiHarness) -> None:
    first = world.create_running()
    items(act(world, RUNNING))
    world.run_until_settled()
    second = world.create_running("web-2")
    world.clock.now += IDEMPOTENCY_KEY_TTL - timedelta(seconds=60)
    assert [item["vm_id"] for item in items(act(world, RUNNING))] == [first]
    world.clock.now += timedelta(seconds=60)
    found = act(world, RUNNING)
    assert ([item["vm_id"] for item in items(found)], replayed(found)) == ([second], False)


def test_key_of_maximum_length_is_accepted(world: ApiHarness) -> None:
    wanted = {"action": "stop", "ids": [world.create_running()]}
    first = items(act(world, wanted, "x" * 255))
    assert items(act(world, wanted, "x" * 255)) == again(first)
