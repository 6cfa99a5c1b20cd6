"""The mapping of servers, error messages and actions of Nova."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.support.fake_openstack import SERVER_ID
from vmapi import errors
from vmapi.backends.openstack.failures.error_messages import error_for_message
from vmapi.backends.openstack.servers.actions import instance_action_names
from vmapi.backends.openstack.servers.mapping import SPAWNING_TASK_STATES, vm_from_server
from vmapi.domain.lifecycle import Status, Task, Verb
from vmapi.domain.vm import Address, Fault

FULL = {
    "id": SERVER_ID,
    "name": "web-1",
    "status": "ACTIVE",
    "metadata": {"a": "b", "vmapi.own": "1"},
    "image": {"id": "fd300dd2", "links": []},
    "flavor": {"vcpus": 1, "ram": 512, "disk": 1, "original_name": "m1.tiny"},
    "created": "2026-11-22T15:55:50Z",
    "updated": "2026-11-22T15:55:52Z",
    "addresses": {
        "private": [
            {"version": 4, "addr": "198.18.3.188", "OS-EXT-IPS:type": "fixed"},
            {"version": 4, "addr": "192.0.2.7", "OS-EXT-IPS:type": "floating"},
        ],
        "six": [{"version": 6, "addr": "2001:db8::1"}],
    },
    "key_name": "key-1",
    "OS-SRV-USG:launched_at": "2026-11-22T15:55:52.000000",
    "security_groups": [{"name": "web"}, {"name": "default"}, {"name": "web"}],
    "OS-EXT-STS:task_state": None,
    "locked": True,
}
LAUNCHED = {"OS-SRV-USG:launched_at": "2026-11-22T15:55:52.000000"}


def vm_with(status: str, task_state: str | None = None, **members: Any) -> Any:
    server = {"id": SERVER_ID, "status": status, "OS-EXT-STS:task_state": task_state, **members}
    return vm_from_server(server, {}, "default")


def test_server_maps_to_a_vm() -> None:
    vm = vm_from_server(FULL, {"fd300dd2": "ubuntu-22.04"}, "default")
    assert (vm.id, vm.name, vm.flavor, vm.image) == (SERVER_ID, "web-1", "m1.tiny", "ubuntu-22.04")
    assert (vm.status, vm.task, vm.backend_status) == (Status.RUNNING, None, "ACTIVE")
    assert vm.created_at == datetime(2026, 11, 22, 15, 55, 50, tzinfo=UTC)
    assert vm.updated_at == datetime(2026, 11, 22, 15, 55, 52, tzinfo=UTC)
    assert vm.metadata == {"a": "b"}
    assert vm.security_groups == ("web", "default")
    assert vm.addresses[2] == Address("six", "2001:db8::1", 6, "fixed")
    assert vm.ip_address == "192.0.2.7"
    assert (vm.key_name, vm.locked, vm.launched, vm.fault) == ("key-1", True, True, None)


@pytest.mark.parametrize(
    ("server", "project"),
    [
        ({"metadata": {"vmapi.project": "web"}}, "web"),
        ({"metadata": {}}, "default-1"),
        *(
            ({"metadata": {"vmapi.project": mark}}, "default-1")
            for mark in ("", "a b", "é", "w" * 65)
        ),
        ({"metadata": {"vmapi.project": "web"}, "status": "DELETED"}, "web"),
        # Nova may return no metadata of a deleted server, or of a cell that is down
        ({"metadata": {}, "status": "DELETED"}, None),
        ({"metadata": {}, "status": "SOFT_DELETED"}, None),
        ({"status": "UNKNOWN"}, None),
    ],
)
def test_server_metadata_maps_to_the_project(server: dict[str, Any], project: str | None) -> None:
    members = {"id": SERVER_ID, "status": "ACTIVE", **server}
    vm = vm_from_server(members, {}, "default-1")
    assert vm.project == project
    assert vm.metadata == {}


def test_flavor_maps_to_vcpus_and_ram() -> None:
    vm = vm_from_server(FULL, {}, "default")
    assert (vm.vcpus, vm.ram_mb) == (1, 512)
    vm = vm_from_server({"id": SERVER_ID}, {}, "default")
    assert (vm.vcpus, vm.ram_mb) == (None, None)


def test_unknown_image_maps_to_its_id_and_no_image_to_none() -> None:
    assert vm_from_server(FULL, {}, "default").image == "fd300dd2"
    assert vm_from_server({**FULL, "image": ""}, {}, "default").image is None


def test_server_of_a_cell_that_is_down_is_an_error() -> None:
    vm = vm_with("UNKNOWN", created="2026-11-22T15:55:50Z")
    assert (vm.name, vm.status, vm.backend_status) == (SERVER_ID, Status.ERROR, "UNKNOWN")
    assert vm.fault.code == "backend_error"
    assert "UNKNOWN" in vm.fault.message
    assert [action.value for action in vm.allowed_actions] == ["delete"]
    assert vm_from_server({"id": SERVER_ID}, {}, "default").backend_status == "UNKNOWN"


@pytest.mark.parametrize(
    ("nova_status", "status", "task"),
    [
        ("BUILD", "BUILDING", "creating"),
        ("ACTIVE", "RUNNING", None),
        ("PASSWORD", "RUNNING", "other"),
        ("REBOOT", "RUNNING", "restarting"),
        ("HARD_REBOOT", "RUNNING", "restarting"),
        ("RESCUE", "RUNNING", "other"),
        ("RESIZE", "RUNNING", "other"),
        ("VERIFY_RESIZE", "RUNNING", "other"),
        ("REVERT_RESIZE", "RUNNING", "other"),
        ("MIGRATING", "RUNNING", "other"),
        ("SHUTOFF", "STOPPED", None),
        ("SHELVED", "STOPPED", None),
        ("SHELVED_OFFLOADED", "STOPPED", None),
        ("PAUSED", "PAUSED", None),
        ("SUSPENDED", "PAUSED", None),
        ("REBUILD", "BUILDING", "other"),
        ("DELETED", "DELETED", None),
        ("SOFT_DELETED", "DELETED", None),
        ("ERROR", "ERROR", None),
        ("UNKNOWN", "ERROR", None),
        ("HOVERING", "ERROR", None),
    ],
)
def test_nova_status_maps_to_status_and_task(
    nova_status: str, status: str, task: str | None
) -> None:
    vm = vm_with(nova_status)
    assert (vm.status, vm.task, vm.backend_status) == (status, task, nova_status)
    assert (vm.fault is not None) == (vm.status is Status.ERROR)


@pytest.mark.parametrize(
    ("nova_status", "task_state", "task"),
    [
        *[("BUILD", state, Task.CREATING) for state in SPAWNING_TASK_STATES],
        ("BUILD", "deleting", Task.DELETING),
        ("ACTIVE", "powering-off", Task.STOPPING),
        ("SHUTOFF", "powering-on", Task.STARTING),
        ("REBOOT", "rebooting", Task.RESTARTING),
        ("REBOOT", "reboot_started", Task.RESTARTING),
        ("HARD_REBOOT", "rebooting_hard", Task.RESTARTING),
        ("ACTIVE", "pausing", Task.PAUSING),
        ("ACTIVE", "suspending", Task.PAUSING),
        ("PAUSED", "unpausing", Task.RESUMING),
        ("SUSPENDED", "resuming", Task.RESUMING),
        ("ACTIVE", "deleting", Task.DELETING),
        ("ACTIVE", "soft-deleting", Task.DELETING),
        ("ACTIVE", "shelving_image_uploading", Task.OTHER),
        ("SHELVED", "shelving_offloading", Task.OTHER),
        ("SHELVED_OFFLOADED", "unshelving", Task.STARTING),
        ("SHELVED_OFFLOADED", "spawning", Task.STARTING),
        ("REBUILD", "rebuild_block_device_mapping", Task.OTHER),
        ("RESIZE", "resize_migrating", Task.OTHER),
        ("ACTIVE", "image_snapshot", Task.OTHER),
    ],
)
def test_task_state_maps_to_task(nova_status: str, task_state: str, task: Task) -> None:
    assert vm_with(nova_status, task_state).task is task


@pytest.mark.parametrize(
    ("message", "members", "code"),
    [
        ("No valid host was found. ", {}, "no_capacity"),
        ("No valid host was found. There are not enough hosts.", LAUNCHED, "no_capacity"),
        ("Exceeded maximum number of retries. Exhausted all hosts", {}, "build_failed"),
        ("Quota exceeded for cores: Requested 1, but already used 0", {}, "quota_exceeded"),
        ("Maximum number of ports exceeded", {}, "quota_exceeded"),
        ("The number of defined ports: 40 is over the limit: 0", {}, "quota_exceeded"),
        ("Something odd", {}, "build_failed"),
        ("Something odd", LAUNCHED, "backend_error"),
        ("", LAUNCHED, "backend_error"),
    ],
)
def test_fault_message_maps_to_code(message: str, members: dict[str, str], code: str) -> None:
    fault = vm_with("ERROR", fault={"code": 500, "message": message}, **members).fault
    assert isinstance(fault, Fault)
    assert fault.code == code
    assert fault.message == (message.strip() or "The cloud gives no reason.")
    assert fault.hint


ID = "82fcd684-4bbe-484d-a079-8b4213a3e704"
NOVA_ERRORS: list[tuple[int, str, type[errors.VmapiError]]] = [
    (400, "Flavor nope could not be found.", errors.FlavorNotFound),
    (404, "Flavor nope could not be found.", errors.FlavorNotFound),
    (400, "Can not find requested image", errors.ImageNotFound),
    (400, f"Image {ID} is not active.", errors.ImageNotFound),
    (400, f"Network {ID} could not be found.", errors.NetworkNotFound),
    (400, "Unable to automatically allocate a network for project p", errors.NetworkNotFound),
    (400, "Invalid key_name provided.", errors.KeyNotFound),
    (
        400,
        "Unable to find security_group with name or id 'nosg'",
        errors.SecurityGroupNotFound,
    ),
    (400, "The requested availability zone is not available", errors.ValidationFailed),
    (403, "Maximum number of metadata items exceeds 128", errors.QuotaExceeded),
    (403, "Maximum number of ports exceeded", errors.QuotaExceeded),
    (403, "The number of defined ports: 40 is over the limit: 0", errors.QuotaExceeded),
    (
        403,
        "Quota exceeded for instances: Requested 1, but already used 0 of 0 instances",
        errors.QuotaExceeded,
    ),
    (403, "Policy doesn't allow os_compute_api:x to be performed.", errors.Forbidden),
    (409, f"Instance {ID} is locked", errors.VMLocked),
    (
        409,
        f"Cannot 'stop' instance {ID} while it is in task_state powering-off",
        errors.TaskInProgress,
    ),
    (409, f"Cannot 'start' instance {ID} while it is in vm_state active", errors.InvalidState),
    (409, f"Cannot 'stop' instance {ID} while it is in vm_state deleted", errors.VMNotFound),
    (409, f"Instance {ID} is not ready", errors.InvalidState),
    (
        409,
        "Multiple possible networks found, use a Network ID to be more specific.",
        errors.NetworkAmbiguous,
    ),
    (
        400,
        "Invalid input for field/attribute imageRef. Value: zzz. 'zzz' is not valid",
        errors.ImageNotFound,
    ),
    (
        400,
        "Invalid input for field/attribute networks. Value: [{'uuid': 'abc'}]. …",
        errors.NetworkNotFound,
    ),
    (
        400,
        "Invalid input for field/attribute name. Value: Quota exceeded. is too …",
        errors.ValidationFailed,
    ),
]


@pytest.mark.parametrize(("status", "message", "error"), NOVA_ERRORS)
def test_error_message_maps_to_error(
    status: int, message: str, error: type[errors.VmapiError]
) -> None:
    server_id = ID if f"nstance {ID}" in message else None
    is_create = server_id is None
    result = error_for_message(status, message, server_id=server_id, is_create=is_create)
    assert type(result) is error


def test_quoted_value_is_not_repeated() -> None:
    message = "Invalid input for field/attribute user_data. Value: c2VjcmV0. 'c2VjcmV0' is too long"
    error = error_for_message(400, message)
    assert isinstance(error, errors.ValidationFailed)
    assert error.extra["errors"] == [
        {"pointer": "/user_data", "message": "the cloud does not accept it"}
    ]
    assert "c2VjcmV0" not in str(error.extra) + error.detail
    long = error_for_message(409, "x" * 5000, server_id=ID)
    assert long is not None
    assert len(long.detail) < 400


def test_unknown_message_maps_to_no_error() -> None:
    assert error_for_message(404, f"Instance {ID} could not be found.") is None
    assert error_for_message(404, f"Action {ID} not found", server_id=ID) is None
    assert error_for_message(409, "", server_id=ID) is None


@pytest.mark.parametrize(
    ("verb", "names"),
    [
        (Verb.CREATE, {"create"}),
        (Verb.START, {"start", "unshelve"}),
        (Verb.STOP, {"stop"}),
        (Verb.RESTART_SOFT, {"reboot"}),
        (Verb.RESTART_HARD, {"reboot"}),
        (Verb.PAUSE, {"pause"}),
        (Verb.RESUME, {"unpause", "resume"}),
        (Verb.DELETE, {"delete"}),
    ],
)
def test_instance_action_names_of_a_verb(verb: Verb, names: set[str]) -> None:
    assert instance_action_names(verb) == names
