"""External changes of servers through the SDK, as the project's owner or as admin."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from tests.support.live.api_script import (
    EXTERNAL_CHANGE_TIMEOUT,
    ApiScript,
    wait_for,
    wait_until_settled_in_nova,
)

pytestmark = pytest.mark.live


def test_suspended_and_shelved_servers(script: ApiScript, owner: Any) -> None:
    vm_id = script.create_running_vm()
    for action, status in (("resume", "RUNNING"), ("stop", "STOPPED")):
        owner.compute.suspend_server(vm_id)
        wait_until_settled_in_nova(owner, vm_id, "SUSPENDED")
        vm = script.wait_until_shown(vm_id, status="PAUSED", task=None, backend_status="SUSPENDED")
        assert vm["allowed_actions"] == ["stop", "resume", "delete"]
        script.assert_refused(409, "invalid_state", "POST", f"/vms/{vm_id}/pause")
        assert script.perform_action(vm_id, action)["status"] == status
    owner.compute.shelve_server(vm_id)
    wait_until_settled_in_nova(owner, vm_id, "SHELVED_OFFLOADED")
    vm = script.wait_until_shown(
        vm_id, status="STOPPED", task=None, backend_status="SHELVED_OFFLOADED"
    )
    assert vm["allowed_actions"] == ["start", "delete"]
    changed = script.call("PATCH", f"/vms/{vm_id}", {"name": script.vm_name("shelved")})
    assert changed.status in (200, 409)
    started = script.perform_action(vm_id, "start")
    assert (started["status"], started["backend_status"]) == ("RUNNING", "ACTIVE")


def test_resized_server(script: ApiScript, owner: Any) -> None:
    vm_id = script.create_running_vm()
    flavors = script.get("/flavors")["items"]
    owner.compute.resize_server(vm_id, flavors[1]["id"])
    tasks = set()

    def is_resized() -> bool:
        vm = script.get_vm(vm_id)
        tasks.add(vm["task"])
        return bool(vm["backend_status"] == "VERIFY_RESIZE")

    wait_for(is_resized)
    assert "other" in tasks
    vm = script.get_vm(vm_id)
    assert (vm["status"], vm["task"], vm["allowed_actions"]) == ("RUNNING", "other", ["delete"])
    assert vm["flavor"] == flavors[1]["name"]
    for action in ("stop", "start", "restart", "pause", "resume"):
        refusal = script.assert_refused(409, "task_in_progress", "POST", f"/vms/{vm_id}/{action}")
        assert refusal["task"] == "other"
    owner.compute.confirm_server_resize(vm_id)
    assert script.wait_until_settled(vm_id)["allowed_actions"] == [
        "stop",
        "restart",
        "pause",
        "delete",
    ]
    assert script.perform_action(vm_id, "stop")["status"] == "STOPPED"


def test_locked_and_rescued_server(script: ApiScript, owner: Any, admin: Any) -> None:
    vm_id = script.create_running_vm()
    path = f"/vms/{vm_id}"
    for account in (owner, admin):
        with locked(account, vm_id):
            # the inventory may be stale; Nova refuses the action
            for action in ("stop", "restart", "pause", "start", "resume"):
                refusal = script.assert_refused(409, "vm_locked", "POST", f"{path}/{action}")
                assert refusal["allowed_actions"] == []
            vm = script.get_vm(vm_id)
            assert (vm["locked"], vm["status"], vm["allowed_actions"]) == (True, "RUNNING", [])
            script.assert_refused(409, "vm_locked", "PATCH", path, {"metadata": {"env": "test"}})
            script.assert_refused(409, "vm_locked", "DELETE", path)
        # the inventory may be stale after the unlock
        assert script.call("PATCH", path, {"metadata": {"env": "test"}}).status == 200
        assert script.get_vm(vm_id)["locked"] is False
    owner.compute.rescue_server(vm_id)
    wait_until_settled_in_nova(owner, vm_id, "RESCUE")
    vm = script.wait_until_shown(vm_id, status="RUNNING", task="other", backend_status="RESCUE")
    assert vm["allowed_actions"] == ["delete"]
    script.assert_refused(409, "task_in_progress", "POST", f"{path}/stop")
    owner.compute.unrescue_server(vm_id)
    script.wait_until_shown(vm_id, task=None, backend_status="ACTIVE")


@contextmanager
def locked(account: Any, vm_id: str) -> Iterator[None]:
    """Lock a server for a `with` block."""
    account.compute.lock_server(vm_id)
    try:
        yield
    finally:
        account.compute.unlock_server(vm_id)


def test_server_created_and_renamed_outside(script: ApiScript, owner: Any) -> None:
    create_body, name = script.create_body(), script.vm_name("outside")
    image = next(i for i in script.get("/images")["items"] if i["name"] == create_body["image"])
    flavor = next(f for f in script.get("/flavors")["items"] if f["name"] == create_body["flavor"])
    server = owner.compute.create_server(
        name=name, flavor_id=flavor["id"], image_id=image["id"], networks="auto"
    )
    script.created_vm_ids.append(server.id)
    building = script.get_vm(server.id)
    assert (building["status"], building["task"]) in (("BUILDING", "creating"), ("RUNNING", None))
    taken = script.assert_refused(409, "name_taken", "POST", "/vms", script.create_body("outside"))
    assert taken["vm_id"] == server.id
    vm = script.wait_until_settled(server.id)
    assert (vm["status"], vm["name"], vm["metadata"]) == ("RUNNING", name, {})
    assert script.get(f"/vms?name={name}")["items"] == [vm]
    assert script.perform_action(server.id, "pause")["status"] == "PAUSED"
    owner.compute.update_server(server.id, name="another  name")
    script.wait_until_shown(server.id, name="another  name")
    owner.compute.unpause_server(server.id)
    wait_until_settled_in_nova(owner, server.id, "ACTIVE")
    owner.compute.stop_server(server.id)
    vm = script.wait_until_shown(server.id, status="STOPPED", task=None)
    assert vm["allowed_actions"] == ["start", "delete"]
    owner.compute.delete_server(server.id)
    script.wait_until_deleted(server.id, EXTERNAL_CHANGE_TIMEOUT)
    script.assert_refused(404, "vm_not_found", "POST", f"/vms/{server.id}/start")


def create_external_network(network_api: Any, name: str, undo: ExitStack) -> Any:
    external = network_api.create_network(name=name, is_router_external=True)
    undo.callback(network_api.delete_network, external)
    network_api.create_subnet(
        network_id=external.id, name=name, ip_version=4, cidr="203.0.113.0/24", enable_dhcp=False
    )
    return external


def test_floating_ip_is_shown_after_a_full_sync(script: ApiScript, owner: Any, admin: Any) -> None:
    name, network_api = script.vm_name("ext"), owner.network
    with ExitStack() as undo:
        external = create_external_network(admin.network, name, undo)
        gateway = {"network_id": external.id}
        router = network_api.create_router(name=name, external_gateway_info=gateway)
        undo.callback(network_api.delete_router, router)
        # an external network is no candidate for the default network
        vm = script.get_vm(script.create_running_vm())
        port = next(network_api.ports(device_id=vm["id"]))
        subnet = port.fixed_ips[0]["subnet_id"]
        network_api.add_interface_to_router(router, subnet=subnet)
        undo.callback(network_api.remove_interface_from_router, router, subnet=subnet)
        floating = network_api.create_ip(floating_network_id=external.id, port_id=port.id)
        undo.callback(network_api.delete_ip, floating)
        address = floating.floating_ip_address
        owner.compute.set_server_metadata(vm["id"], outside="yes")
        # the event that Neutron sends to Nova; a devcloud switches it off
        event = {"name": "network-changed", "server_uuid": vm["id"], "tag": port.id}
        admin.compute.post("/os-server-external-events", json={"events": [event]})
        # changes-since has no entry for a new address; a full sync finds it
        vm_json = wait_for(lambda: _with_address(script, vm["id"], address))
        fixed, added = vm_json["addresses"]
        assert (fixed["ip"], fixed["type"]) == (vm["ip_address"], "fixed")
        assert vm_json["metadata"] == {"outside": "yes"}
        assert added == {**fixed, "ip": address, "type": "floating"}
        script.delete_created_vms()


def _with_address(script: ApiScript, vm_id: str, address: str) -> Any:
    vm = script.get_vm(vm_id)
    return vm if vm["ip_address"] == address else None


def test_a_server_of_another_project(script: ApiScript, admin: Any) -> None:
    create_body = script.create_body()
    flavor = next(f for f in script.get("/flavors")["items"] if f["name"] == create_body["flavor"])
    image = next(i for i in script.get("/images")["items"] if i["name"] == create_body["image"])
    server = admin.compute.create_server(
        name=script.vm_name("vm"), flavor_id=flavor["id"], image_id=image["id"], networks="none"
    )
    try:
        path = f"/vms/{server.id}"
        for method, below in (("GET", ""), ("GET", "/status"), ("GET", "/console"), ("DELETE", "")):
            script.assert_refused(404, "vm_not_found", method, path + below)
        script.assert_refused(404, "vm_not_found", "PATCH", path, {"name": script.vm_name("x")})
        script.assert_refused(404, "vm_not_found", "POST", f"{path}/stop")
        assert script.get(f"/vms?name={script.label}-*")["items"] == []
        # its name is not taken here
        vm = script.request_vm(start=True)
        assert (vm.status, vm.body["name"]) == (202, server.name)
        assert script.wait_until_finished(vm)["status"] == "succeeded"
    finally:
        admin.compute.delete_server(server)
