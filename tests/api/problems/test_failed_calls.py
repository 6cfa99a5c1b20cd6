"""Responses after a call to the cloud that fails, and after a defect of vmapi."""

from typing import Any

import pytest

from tests.support.api_harness import BASE, CREATE_BODY, UNKNOWN_ID, ApiHarness
from tests.support.problem_requests import create, refused_by_cloud
from vmapi import errors
from vmapi.api.problems import responses as problems


@pytest.mark.parametrize("call", [("POST", "/vms"), ("GET", "/vms"), ("GET", f"/vms/{UNKNOWN_ID}")])
def test_503_has_retry_after_and_nothing_is_sent(
    harness: ApiHarness, call: tuple[str, str]
) -> None:
    harness.backend.set_faults("unavailable=100%")
    method, path = call
    response = harness.call(method, path, **({"json": CREATE_BODY} if method == "POST" else {}))
    assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
    harness.backend.set_faults("")
    assert len(harness.backend.list_vms()) == 0


def test_503_of_action_fails_its_operation(harness: ApiHarness, monkeypatch: Any) -> None:
    response = refused_by_cloud(errors.BackendUnavailable("away", retry_after=7))(
        harness, monkeypatch
    )
    assert (response.status_code, response.headers["Retry-After"]) == (503, "7")
    (operation,) = harness.get_json("/operations?action=stop")["items"]
    assert (operation["status"], operation["error"]["code"]) == ("failed", "backend_unavailable")


@pytest.mark.parametrize(("verb", "path"), [("stop", "/stop"), ("delete", "")])
def test_504_names_the_operation_recovered_later(harness: ApiHarness, verb: str, path: str) -> None:
    vm_id = harness.create_running()
    harness.backend.set_faults("lost_answer=1")
    response = harness.call("POST" if path else "DELETE", f"/vms/{vm_id}{path}")
    assert (response.status_code, response.json["code"]) == (504, "backend_timeout")
    assert response.headers["Operation-Location"] == response.json["operation"]
    operation = harness.get_operation(response)
    assert (operation["action"], operation["status"]) == (verb, "running")
    harness.reconcile_once()
    assert harness.get_operation(response)["status"] == "succeeded"


def test_504_of_create_makes_one_vm(harness: ApiHarness) -> None:
    harness.backend.set_faults("lost_answer=1")
    response = create(harness)
    assert (response.status_code, response.json["code"]) == (504, "backend_timeout")
    assert harness.get_operation(response)["vm_id"] is None
    harness.run_until_settled()
    operation = harness.get_operation(response)
    assert operation["status"] == "succeeded"
    vms = harness.get_json("/vms")["items"]
    assert [(vm["id"], vm["status"]) for vm in vms] == [(operation["vm_id"], "STOPPED")]


def test_refusal_by_cloud_shows_vm_state(harness: ApiHarness, monkeypatch: Any) -> None:
    response = refused_by_cloud(errors.InvalidState("Cannot 'stop'."))(harness, monkeypatch)
    assert (response.status_code, response.json["code"]) == (409, "invalid_state")
    assert response.json["current_status"] == "RUNNING"
    assert response.json["allowed_actions"] == ["stop", "restart", "pause", "delete"]


def test_500_reveals_only_the_request_id(harness: ApiHarness, monkeypatch: Any) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("hunter2")

    hooks = dict(harness.app.after_request_funcs)
    monkeypatch.setattr(harness.app, "after_request_funcs", {None: hooks[None][:1]})
    handlers = harness.app.error_handler_spec[None][None]
    monkeypatch.setitem(handlers, Exception, problems.internal_error_response)
    monkeypatch.setattr(harness.backend, "list_changes_after", broken)
    response = harness.call("GET", f"/vms/{UNKNOWN_ID}", headers={"X-Request-ID": "mine"})
    assert response.status_code == 500
    assert response.json == {
        "type": "/problems/internal_error",
        "title": "Internal error",
        "status": 500,
        "code": "internal_error",
        "detail": "vmapi failed to process the request.",
        "instance": f"{BASE}/vms/{UNKNOWN_ID}",
        "request_id": "mine",
    }
