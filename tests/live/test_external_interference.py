"""Others who come between two steps of ours, or between our look and our call."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.live.api_script import Script, settled_in_nova, until
from tests.support.live.nova_proxy import Proxy

pytestmark = pytest.mark.live


def test_paused_between_our_two_steps(watched: Script, proxy: Proxy, owner: Any) -> None:
    vm_id = watched.running()
    watched.done(vm_id, "pause")

    def interfere() -> None:
        owner.compute.pause_server(vm_id)
        settled_in_nova(owner, vm_id, "PAUSED")

    with proxy.trouble("POST", "/action$", inside=b"os-stop", before=interfere) as stop:
        operation = watched.ended(watched.act(vm_id, "stop"))
    assert (stop.seen, operation["status"]) == (1, "failed")
    assert operation["error"]["code"] == "invalid_state"
    vm = watched.shown(vm_id, status="PAUSED", task=None)
    assert vm["allowed_actions"] == ["stop", "resume", "delete"]
    # between our look and our call
    with proxy.trouble("POST", "/action$", inside=b"unpause", before=_once(owner, vm_id)):
        refusal = watched.refused(409, "invalid_state", "POST", f"/vms/{vm_id}/resume")
    assert (refusal["current_status"], refusal["task"]) == ("RUNNING", None)
    # and what is under way by somebody else
    with proxy.trouble("POST", "/action$", inside=b"os-stop", before=_locked(owner, vm_id)):
        watched.refused(409, "vm_locked", "POST", f"/vms/{vm_id}/stop")
    owner.compute.unlock_server(vm_id)


def test_deleted_in_the_middle(watched: Script, proxy: Proxy, owner: Any) -> None:
    made = watched.order(metadata={"devcloud_delay": "2"})
    vm_id = made.body["id"]
    owner.compute.delete_server(vm_id)
    operation = watched.ended(made)
    assert (operation["status"], operation["error"]["code"]) == ("failed", "backend_lost")
    watched.refused(404, "vm_not_found", "GET", f"/vms/{vm_id}")
    # after the first of two steps
    vm_id = watched.running("b")
    watched.done(vm_id, "pause")

    def vanish() -> None:
        owner.compute.delete_server(vm_id)
        until(lambda: owner.compute.find_server(vm_id) is None)

    with proxy.trouble("POST", "/action$", inside=b"os-stop", before=vanish):
        operation = watched.ended(watched.act(vm_id, "stop"))
    assert (operation["status"], operation["error"]["code"]) == ("failed", "backend_lost")


def _once(owner: Any, vm_id: str) -> Callable[[], None]:
    def unpause() -> None:
        owner.compute.unpause_server(vm_id)
        settled_in_nova(owner, vm_id, "ACTIVE")

    return unpause


def _locked(owner: Any, vm_id: str) -> Callable[[], None]:
    return lambda: owner.compute.lock_server(vm_id)
