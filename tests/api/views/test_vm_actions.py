"""An action over HTTP: finished at once, in progress, and in conflict with another change."""

from typing import Any

import pytest

from tests.support.api_harness import ApiHarness
from tests.support.memory_cloud import remove_instances, slow
from vmapi.services.operations import preconditions as guard

ACTIONS: list[tuple[list[str], str, str, str]] = [
    (["stop"], "start", "starting", "RUNNING"),
    ([], "stop", "stopping", "STOPPED"),
    (["pause"], "stop", "stopping", "STOPPED"),
    ([], "restart", "restarting", "RUNNING"),
    ([], "pause", "pausing", "PAUSED"),
    (["pause"], "resume", "resuming", "RUNNING"),
]


@pytest.mark.parametrize(("before", "action", "task", "status"), ACTIONS)
def test_actions_on_instant_cloud_return_200(
    harness: ApiHarness, before: list[str], action: str, task: str, status: str
) -> None:
    vm_id = harness.create_running()
    for first in before:
        harness.post_action(vm_id, first)
    response = harness.post_action(vm_id, action)
    assert response.status_code == 200
    assert response.json == harness.get_vm(vm_id)
    assert (response.json["status"], response.json["task"]) == (status, None)
    assert "Location" not in response.headers
    assert "Retry-After" not in response.headers
    operation = harness.get_operation(response)
    assert (operation["action"], operation["status"]) == (action, "succeeded")


@slow
@pytest.mark.parametrize(("before", "action", "task", "status"), ACTIONS)
def test_actions_in_progress_return_202(
    harness: ApiHarness, before: list[str], action: str, task: str, status: str
) -> None:
    vm_id = harness.create_running()
    for first in before:
        harness.post_action(vm_id, first)
        harness.run_until_settled()
    response = harness.post_action(vm_id, action)
    assert response.status_code == 202
    assert response.headers["Retry-After"] == "1"
    assert (response.json["task"], response.json["allowed_actions"]) == (task, ["delete"])
    assert harness.get_json(f"/vms/{vm_id}/status")["task"] == task
    harness.run_until_settled()
    vm_document = harness.get_vm(vm_id)
    assert (vm_document["status"], vm_document["task"]) == (status, None)
    assert harness.get_operation(response)["status"] == "succeeded"


@pytest.mark.parametrize(
    ("body", "word"),
    [(None, "REBOOT"), ({"type": "soft"}, "REBOOT"), ({"type": "hard"}, "HARD_REBOOT")],
)
@pytest.mark.parametrize("latency", ["restart=1"], ids=["slow"])
def test_restart_type_is_chosen_by_request_and_status(
    harness: ApiHarness, body: Any, word: str
) -> None:
    vm_id = harness.create_running()
    response = harness.post(f"/vms/{vm_id}/restart", body)
    assert (response.status_code, response.json["backend_status"]) == (202, word)


def test_hard_restart_recovers_from_error(harness: ApiHarness) -> None:
    vm_id = harness.create_running()
    harness.backend.set_faults("action_failed=1")
    failed = harness.post_action(vm_id, "restart")
    assert (failed.status_code, failed.json["code"]) == (502, "backend_error")
    broken = harness.get_vm(vm_id)
    assert (broken["status"], broken["allowed_actions"]) == ("ERROR", ["restart", "delete"])
    assert broken["fault"] == {
        "code": "backend_error",
        "message": "The action restart_soft failed on the host.",
        "hint": "Restart it, or delete it.",
    }
    soft = harness.post(f"/vms/{vm_id}/restart", {"type": "soft"})
    assert (soft.status_code, soft.json["code"]) == (409, "invalid_state")
    healed = harness.post_action(vm_id, "restart")
    assert (healed.status_code, healed.json["status"], healed.json["fault"]) == (
        *(200, "RUNNING"),
        None,
    )


@slow
def test_stop_during_start_is_409(harness: ApiHarness) -> None:
    vm_id = harness.create_running()
    harness.post_action(vm_id, "stop")
    harness.run_until_settled()
    start = harness.post_action(vm_id, "start")
    stop = harness.post_action(vm_id, "stop")
    assert stop.status_code == 409
    assert stop.json["code"] == "task_in_progress"
    assert (stop.json["current_status"], stop.json["task"]) == ("STOPPED", "starting")
    assert stop.json["allowed_actions"] == ["delete"]
    harness.run_until_settled()
    assert harness.get_operation(start)["status"] == "succeeded"
    assert harness.get_vm(vm_id)["status"] == "RUNNING"


@slow
def test_vm_deleted_during_operation_fails_it(harness: ApiHarness) -> None:
    vm_id = harness.create_running()
    response = harness.post_action(vm_id, "stop")
    remove_instances(harness.backend.cloud)
    harness.reconcile_once()
    operation = harness.get_operation(response)
    assert (operation["status"], operation["error"]["code"]) == ("failed", "backend_lost")


@slow
def test_concurrent_actions_on_one_vm_conflict(
    harness: ApiHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    vm_id, plan, others = harness.create_running(), guard.plan_steps, ["pause"]

    def overtaken(*args: Any, **kwargs: Any) -> Any:
        planned = plan(*args, **kwargs)
        if others:
            assert harness.post_action(vm_id, others.pop()).status_code == 202
        return planned

    monkeypatch.setattr(guard, "plan_steps", overtaken)
    response = harness.post_action(vm_id, "stop")
    assert (response.status_code, response.json["code"]) == (409, "task_in_progress")
    assert response.json["detail"] == "Another change of the VM is still in progress."
    assert response.json["current_status"] == "RUNNING"
