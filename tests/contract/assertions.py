"""Assertions of the driver contract, and the actions that Nova allows and refuses."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

import pytest

from tests.contract.cloud_under_test import CloudUnderTest
from vmapi.backends.base import AcceptedAction
from vmapi.domain.lifecycle import Status, Verb
from vmapi.domain.vm import VM, VMPatch
from vmapi.errors import InvalidState, VMNotFound

HARD, PAUSE, SOFT = Verb.RESTART_HARD, Verb.PAUSE, Verb.RESTART_SOFT
ACTION_VERBS = (Verb.START, Verb.STOP, SOFT, HARD, Verb.PAUSE, Verb.RESUME)
ACTION_SEQUENCE = (
    *(SOFT, HARD, PAUSE, HARD, PAUSE, Verb.RESUME),
    *(Verb.STOP, HARD, Verb.STOP, Verb.START),
)
"""Every verb from every status that allows it; begins and ends in RUNNING."""

REFUSED_VERBS = {
    Status.RUNNING: (Verb.START, Verb.RESUME),
    Status.STOPPED: (Verb.STOP, Verb.PAUSE, Verb.RESUME, SOFT),
    Status.PAUSED: (Verb.START, Verb.STOP, Verb.PAUSE, SOFT),
    Status.ERROR: ACTION_VERBS,
}
"""The verbs that Nova refuses in a status; in ERROR, for a VM that never ran."""

NOVA_STATUSES = {Status.RUNNING: "ACTIVE", Status.STOPPED: "SHUTOFF", Status.PAUSED: "PAUSED"}
LONG_BEFORE = datetime(2020, 1, 1, tzinfo=UTC)
MALFORMED_IDS = {
    "word": "nope",
    "number": "1",
    "parent": "..",
    "slash": "a/b",
    "query": "a?b",
    "accent": "é",
    "space": " ",
}


def constant_fields(vm: VM) -> VM:
    """Return a VM with placeholders in the fields that an action may change."""
    return replace(
        vm, status=Status.RUNNING, backend_status="", updated_at=vm.created_at, fault=None
    )


def observe_until_settled(cloud: CloudUnderTest, vm_id: str) -> list[VM]:
    """Return the observations of a VM until no task is in progress."""
    observations = []
    for vm in cloud.poll_vm(vm_id):
        observations.append(vm)
        if vm.task is None:
            break
    return observations


def assert_actions_refused(cloud: CloudUnderTest, vm: VM, status: Status) -> None:
    """Assert that a VM has a status, and that the actions refused there change nothing."""
    assert vm.status is status
    for verb in REFUSED_VERBS[status]:
        with pytest.raises(InvalidState) as caught:
            cloud.backend.perform_action(vm.id, verb)
        assert caught.type is InvalidState
    current = cloud.backend.get_vm(vm.id)
    assert (current.status, current.task) == (status, None)


def assert_failed_build(cloud: CloudUnderTest, vm: VM, code: str) -> None:
    """Assert that a VM with a failed build allows only reads, a rename and a delete."""
    assert_actions_refused(cloud, vm, Status.ERROR)
    assert vm.backend_status == "ERROR"
    assert not vm.launched
    assert vm.fault is not None
    assert vm.fault.code == code
    assert vm.fault.message
    with pytest.raises(InvalidState):
        cloud.backend.get_console(vm.id, None)
    with pytest.raises(InvalidState):
        cloud.backend.update_vm(vm.id, VMPatch(metadata={"env": "test"}))
    cloud.backend.update_vm(vm.id, VMPatch(name=cloud.vm_name("broken")))
    assert cloud.backend.get_vm(vm.id).name == cloud.vm_name("broken")
    cloud.delete_vm(vm.id)


def assert_vm_unknown(cloud: CloudUnderTest, vm_id: str) -> None:
    """Assert that a VM never existed: the actions of a deleted VM may still be known."""
    with pytest.raises(VMNotFound):
        cloud.backend.find_action(vm_id, Verb.STOP, LONG_BEFORE)
    with pytest.raises(VMNotFound):
        cloud.backend.get_outcome(AcceptedAction(vm_id, f"req-{cloud.unknown_id()}"))
    assert_vm_deleted(cloud, vm_id)


def assert_vm_deleted(cloud: CloudUnderTest, vm_id: str) -> None:
    """Assert that every request for a VM raises VMNotFound."""
    backend = cloud.backend
    calls: list[Callable[[], object]] = [
        lambda: backend.get_vm(vm_id),
        lambda: backend.get_console(vm_id, None),
        lambda: backend.update_vm(vm_id, VMPatch(name=cloud.vm_name("x"))),
        lambda: backend.update_vm(vm_id, VMPatch(metadata={"env": None})),
        *(partial(backend.perform_action, vm_id, verb) for verb in (*ACTION_VERBS, Verb.DELETE)),
    ]
    for call in calls:
        with pytest.raises(VMNotFound) as caught:
            call()
        assert caught.type is VMNotFound
