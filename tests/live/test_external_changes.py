"""What others do to our servers, behind our back: through the SDK, as the owner or as admin."""

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


def test_suspended_and_shelved(script: ApiScript, owner: Any) -> None:
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


def test_resized(script: ApiScript, owner: Any) -> None:
    vm_id = script.create_running_vm()
    flavors = script.get("/flavors")["items"]
    owner.compute.resize_server(vm_id, flavors[1]["id"])
    tasks = set()

    def look() -> bool:
        vm = script.get_vm(vm_id)
        tasks.add(vm["task"])
        return bool(vm["backend_status"] == "VERIFY_RESIZE")

    wait_for(look)
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


def test_locked_and_rescued(script: ApiScript, owner: Any, admin: Any) -> None:
    vm_id = script.create_running_vm()
    path = f"/vms/{vm_id}"
    for somebody in (owner, admin):
        with locked(somebody, vm_id):
            # what the inventory does not know yet, Nova says
            for action in ("stop", "restart", "pause", "start", "resume"):
                refusal = script.assert_refused(409, "vm_locked", "POST", f"{path}/{action}")
                assert refusal["allowed_actions"] == []
            vm = script.get_vm(vm_id)
            assert (vm["locked"], vm["status"], vm["allowed_actions"]) == (True, "RUNNING", [])
            script.assert_refused(409, "vm_locked", "PATCH", path, {"metadata": {"env": "test"}})
            script.assert_refused(409, "vm_locked", "DELETE", path)
        # and it need not know that the lock is off
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
def locked(somebody: Any, vm_id: str) -> Iterator[None]:
    """Lock a server while the block lasts."""
    somebody.compute.lock_server(vm_id)
    try:
        yield
    finally:
        somebody.compute.unlock_server(vm_id)


def test_made_and_renamed_outside(script: ApiScript, owner: Any) -> None:
    wanted, name = script.create_body(), script.vm_name("outside")
    image = next(i for i in script.get("/images")["items"] if i["name"] == wanted["image"])
    flavor = next(f for f in script.get("/flavors")["items"] if f["name"] == wanted["flavor"])
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
    owner.compute.update_server(server.id, name="name of  somebody's")
    script.wait_until_shown(server.id, name="name of  somebody's")
    owner.compute.unpause_server(server.id)
    wait_until_settled_in_nova(owner, server.id, "ACTIVE")
    owner.compute.stop_server(server.id)
    vm = script.wait_until_shown(server.id, status="STOPPED", task=None)
    assert vm["allowed_actions"] == ["start", "delete"]
    owner.compute.delete_server(server.id)
    script.wait_until_deleted(server.id, EXTERNAL_CHANGE_TIMEOUT)
    script.assert_refused(404, "vm_not_found", "POST", f"/vms/{server.id}/start")


def test_a_floating_ip(script: ApiScript, owner: Any, admin: Any) -> None:
    name, net, home = script.vm_name("ext"), admin.network, owner.network
    with ExitStack() as undo:
        external = net.create_network(name=name, is_router_external=True)
        undo.callback(net.delete_network, external)
        net.create_subnet(
            network_id=external.id,
            name=name,
            ip_version=4,
            cidr="203.0.113.0/24",
            enable_dhcp=False,
        )
        gateway = {"network_id": external.id}
        router = home.create_router(name=name, external_gateway_info=gateway)
        undo.callback(home.delete_router, router)
        # an external network is none to boot on, and makes the default no less clear
        vm = script.get_vm(script.create_running_vm())
        port = next(home.ports(device_id=vm["id"]))
        subnet = port.fixed_ips[0]["subnet_id"]
        home.add_interface_to_router(router, subnet=subnet)
        undo.callback(home.remove_interface_from_router, router, subnet=subnet)
        floating = home.create_ip(floating_network_id=external.id, port_id=port.id)
        undo.callback(home.delete_ip, floating)
        address = floating.floating_ip_address
        owner.compute.set_server_metadata(vm["id"], outside="yes")
        # what Neutron tells Nova by itself, where it is not told to keep quiet as in a devcloud
        event = {"name": "network-changed", "server_uuid": vm["id"], "tag": port.id}
        admin.compute.post("/os-server-external-events", json={"events": [event]})
        # who asks Nova for what has changed is not told of this: a look at everything shows it
        seen = wait_for(lambda: _with_address(script, vm["id"], address))
        fixed, added = seen["addresses"]
        assert (fixed["ip"], fixed["type"]) == (vm["ip_address"], "fixed")
        assert seen["metadata"] == {"outside": "yes"}
        assert added == {**fixed, "ip": address, "type": "floating"}
        script.delete_created_vms()


def _with_address(script: ApiScript, vm_id: str, address: str) -> Any:
    vm = script.get_vm(vm_id)
    return vm if vm["ip_address"] == address else None


def test_a_server_of_another_project(script: ApiScript, admin: Any) -> None:
    wanted = script.create_body()
    flavor = next(f for f in script.get("/flavors")["items"] if f["name"] == wanted["flavor"])
    image = next(i for i in script.get("/images")["items"] if i["name"] == wanted["image"])
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
