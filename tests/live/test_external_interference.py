"""External changes between two steps of an operation, or between a read and a request."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.live.api_script import ApiScript, wait_for, wait_until_settled_in_nova
from tests.support.live.nova_proxy import NovaProxy

pytestmark = pytest.mark.live


def test_pause_between_two_steps_fails_the_operation(
    proxied_script: ApiScript, proxy: NovaProxy, owner: Any
) -> None:
    vm_id = proxied_script.create_running_vm()
    proxied_script.perform_action(vm_id, "pause")

    with proxy.inject_fault(
        "POST", "/action$", body_contains=b"os-stop", run_before=_pausing(owner, vm_id)
    ) as stop:
        operation = proxied_script.wait_until_finished(proxied_script.request_action(vm_id, "stop"))
    assert (stop.match_count, operation["status"]) == (1, "failed")
    assert operation["error"]["code"] == "invalid_state"
    vm = proxied_script.wait_until_shown(vm_id, status="PAUSED", task=None)
    assert vm["allowed_actions"] == ["stop", "resume", "delete"]
    # a change between the read and the request
    with proxy.inject_fault(
        "POST", "/action$", body_contains=b"unpause", run_before=_unpausing(owner, vm_id)
    ):
        refusal = proxied_script.assert_refused(
            409, "invalid_state", "POST", f"/vms/{vm_id}/resume"
        )
    assert (refusal["current_status"], refusal["task"]) == ("RUNNING", None)
    # a lock between the read and the request
    with proxy.inject_fault(
        "POST", "/action$", body_contains=b"os-stop", run_before=_locking(owner, vm_id)
    ):
        proxied_script.assert_refused(409, "vm_locked", "POST", f"/vms/{vm_id}/stop")
    owner.compute.unlock_server(vm_id)


def test_delete_during_an_operation_fails_the_operation(
    proxied_script: ApiScript, proxy: NovaProxy, owner: Any
) -> None:
    created = proxied_script.request_vm(metadata={"devcloud_delay": "2"})
    vm_id = created.body["id"]
    owner.compute.delete_server(vm_id)
    operation = proxied_script.wait_until_finished(created)
    assert (operation["status"], operation["error"]["code"]) == ("failed", "backend_lost")
    proxied_script.assert_refused(404, "vm_not_found", "GET", f"/vms/{vm_id}")
    # after the first of two steps
    vm_id = proxied_script.create_running_vm("b")
    proxied_script.perform_action(vm_id, "pause")

    def delete_server() -> None:
        owner.compute.delete_server(vm_id)
        wait_for(lambda: owner.compute.find_server(vm_id) is None)

    with proxy.inject_fault("POST", "/action$", body_contains=b"os-stop", run_before=delete_server):
        operation = proxied_script.wait_until_finished(proxied_script.request_action(vm_id, "stop"))
    assert (operation["status"], operation["error"]["code"]) == ("failed", "backend_lost")


def _pausing(owner: Any, vm_id: str) -> Callable[[], None]:
    def pause() -> None:
        owner.compute.pause_server(vm_id)
        wait_until_settled_in_nova(owner, vm_id, "PAUSED")

    return pause


def _unpausing(owner: Any, vm_id: str) -> Callable[[], None]:
    def unpause() -> None:
        owner.compute.unpause_server(vm_id)
        wait_until_settled_in_nova(owner, vm_id, "ACTIVE")

    return unpause


def _locking(owner: Any, vm_id: str) -> Callable[[], None]:
    return lambda: owner.compute.lock_server(vm_id)
