"""What is looked at again and again, and what Nova allows and refuses."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

import pytest

from tests.contract.cloud_under_test import Cloud
from vmapi.backends.base import AcceptedAction
from vmapi.domain.lifecycle import Status, Verb
from vmapi.domain.vm import VM, VMPatch
from vmapi.errors import InvalidState, VMNotFound

HARD, PAUSE, SOFT = Verb.RESTART_HARD, Verb.PAUSE, Verb.RESTART_SOFT
PERFORMED = (Verb.START, Verb.STOP, SOFT, HARD, Verb.PAUSE, Verb.RESUME)
WALK = (SOFT, HARD, PAUSE, HARD, PAUSE, Verb.RESUME, Verb.STOP, HARD, Verb.STOP, Verb.START)
"""Every verb out of every status that allows it; begins and ends in RUNNING."""
REFUSED = {
    Status.RUNNING: (Verb.START, Verb.RESUME),
    Status.STOPPED: (Verb.STOP, Verb.PAUSE, Verb.RESUME, SOFT),
    Status.PAUSED: (Verb.START, Verb.STOP, Verb.PAUSE, SOFT),
    Status.ERROR: PERFORMED,
}
"""What Nova refuses; in ERROR: when the VM never ran."""
WORDS = {Status.RUNNING: "ACTIVE", Status.STOPPED: "SHUTOFF", Status.PAUSED: "PAUSED"}
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
STRANGE_IDS = {
    "word": "nope",
    "number": "1",
    "parent": "..",
    "slash": "a/b",
    "query": "a?b",
    "accent": "é",
    "space": " ",
}


def identity(vm: VM) -> VM:
    """Strip a VM of what an action may change."""
    return replace(
        vm, status=Status.RUNNING, backend_status="", updated_at=vm.created_at, fault=None
    )


def until_settled(cloud: Cloud, vm_id: str) -> list[VM]:
    """Return the VM as it was seen until nothing was under way with it."""
    seen = []
    for vm in cloud.watch(vm_id):
        seen.append(vm)
        if vm.task is None:
            break
    return seen


def check_refusals(cloud: Cloud, vm: VM, status: Status) -> None:
    """See that a VM is in a status, and that what Nova does not allow there changes nothing."""
    assert vm.status is status
    for verb in REFUSED[status]:
        with pytest.raises(InvalidState) as caught:
            cloud.backend.perform_action(vm.id, verb)
        assert caught.type is InvalidState
    now = cloud.backend.get_vm(vm.id)
    assert (now.status, now.task) == (status, None)


def check_broken(cloud: Cloud, vm: VM, code: str) -> None:
    """See that a VM that never ran can only be looked at, renamed and deleted."""
    check_refusals(cloud, vm, Status.ERROR)
    assert vm.backend_status == "ERROR"
    assert not vm.launched
    assert vm.fault is not None
    assert vm.fault.code == code
    assert vm.fault.message
    with pytest.raises(InvalidState):
        cloud.backend.get_console(vm.id, None)
    with pytest.raises(InvalidState):
        cloud.backend.update_vm(vm.id, VMPatch(metadata={"env": "test"}))
    cloud.backend.update_vm(vm.id, VMPatch(name=cloud.name("broken")))
    assert cloud.backend.get_vm(vm.id).name == cloud.name("broken")
    cloud.delete(vm.id)


def check_unknown(cloud: Cloud, vm_id: str) -> None:
    """See that there never was such a VM: of a deleted one the actions may still be known."""
    with pytest.raises(VMNotFound):
        cloud.backend.find_action(vm_id, Verb.STOP, LONG_AGO)
    with pytest.raises(VMNotFound):
        cloud.backend.get_outcome(AcceptedAction(vm_id, f"req-{cloud.unknown_id()}"))
    check_gone(cloud, vm_id)


def check_gone(cloud: Cloud, vm_id: str) -> None:
    """See that nothing can be done with a VM."""
    backend = cloud.backend
    calls: list[Callable[[], object]] = [
        lambda: backend.get_vm(vm_id),
        lambda: backend.get_console(vm_id, None),
        lambda: backend.update_vm(vm_id, VMPatch(name=cloud.name("x"))),
        lambda: backend.update_vm(vm_id, VMPatch(metadata={"env": None})),
        *(partial(backend.perform_action, vm_id, verb) for verb in (*PERFORMED, Verb.DELETE)),
    ]
    for call in calls:
        with pytest.raises(VMNotFound) as caught:
            call()
        assert caught.type is VMNotFound
