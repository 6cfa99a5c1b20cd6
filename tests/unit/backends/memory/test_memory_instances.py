"""The life cycle of an instance of the in-memory cloud."""

from dataclasses import replace

import pytest

from tests.contract.assertions import LONG_BEFORE
from tests.support.fake_clock import Clock
from tests.support.memory_cloud import MemoryCloudFactory
from vmapi.backends.base import ActionOutcome
from vmapi.backends.memory.action_log import MAX_DELETED_LOGS
from vmapi.backends.memory.instances import DELETED_HISTORY
from vmapi.domain.lifecycle import Status, Task, Verb
from vmapi.domain.vm import VMPatch
from vmapi.errors import InvalidState, QuotaExceeded, TaskInProgress, VMNotFound


def test_build_takes_the_latency_of_create(make_cloud: MemoryCloudFactory, clock: Clock) -> None:
    cloud = make_cloud("create=2")
    action = cloud.create_vm(cloud.build_spec())
    assert cloud.backend.find_created_vm(cloud.operation_id("operation")) == action
    clock.sleep(1.9)
    building = cloud.backend.get_vm(action.vm_id)
    assert (building.status, building.task) == (Status.BUILDING, Task.CREATING)
    assert (building.backend_status, building.addresses) == ("BUILD", ())
    assert not building.launched
    clock.sleep(60)
    vm = cloud.backend.get_vm(action.vm_id)
    assert (vm.status, vm.backend_status, vm.task) == (Status.RUNNING, "ACTIVE", None)
    assert (vm.updated_at - vm.created_at).total_seconds() == 2
    assert vm.ip_address == "198.18.0.2"


@pytest.mark.parametrize(
    ("verb", "nova_status", "task"),
    [
        (Verb.RESTART_SOFT, "REBOOT", Task.RESTARTING),
        (Verb.RESTART_HARD, "HARD_REBOOT", Task.RESTARTING),
        (Verb.STOP, "ACTIVE", Task.STOPPING),
        (Verb.PAUSE, "ACTIVE", Task.PAUSING),
        (Verb.DELETE, "ACTIVE", Task.DELETING),
    ],
)
def test_action_in_progress_shows_task_and_nova_status(
    make_cloud: MemoryCloudFactory, clock: Clock, verb: Verb, nova_status: str, task: Task
) -> None:
    cloud = make_cloud("create=0,*=1")
    vm = cloud.boot_vm()
    clock.sleep(1)
    action = cloud.backend.perform_action(vm.id, verb)
    vm = cloud.backend.get_vm(vm.id)
    assert (vm.status, vm.backend_status, vm.task) == (Status.RUNNING, nova_status, task)
    assert vm.updated_at == clock()
    assert cloud.backend.get_outcome(action) is ActionOutcome.PENDING


def test_state_is_checked_before_task(make_cloud: MemoryCloudFactory) -> None:
    cloud = make_cloud("create=0,*=1")
    vm = cloud.boot_vm()
    cloud.backend.perform_action(vm.id, Verb.STOP)
    with pytest.raises(TaskInProgress, match="while it is in task_state powering-off"):
        cloud.backend.perform_action(vm.id, Verb.PAUSE)
    with pytest.raises(InvalidState, match="while it is in vm_state active"):
        cloud.backend.perform_action(vm.id, Verb.START)


def test_delete_cancels_the_action_in_progress(
    make_cloud: MemoryCloudFactory, clock: Clock
) -> None:
    cloud = make_cloud("create=0,stop=5,delete=1")
    vm = cloud.boot_vm()
    stop = cloud.backend.perform_action(vm.id, Verb.STOP)
    first = cloud.backend.perform_action(vm.id, Verb.DELETE)
    clock.sleep(0.5)
    second = cloud.backend.perform_action(vm.id, Verb.DELETE)
    assert cloud.backend.get_outcome(stop) is ActionOutcome.FAILED
    assert cloud.backend.get_outcome(second) is ActionOutcome.PENDING
    clock.sleep(0.5)
    assert (
        cloud.backend.get_outcome(first)
        is cloud.backend.get_outcome(second)
        is ActionOutcome.SUCCEEDED
    )
    with pytest.raises(VMNotFound):
        cloud.backend.perform_action(vm.id, Verb.DELETE)
    clock.sleep(10)
    assert not cloud.backend.list_vms()


def test_repeated_create_makes_a_second_vm(make_cloud: MemoryCloudFactory) -> None:
    cloud = make_cloud()
    first, second = cloud.create_vm(cloud.build_spec()), cloud.create_vm(cloud.build_spec())
    operation_id = cloud.operation_id("operation")
    assert cloud.backend.find_created_vm(operation_id) == first
    cloud.delete_vm(first.vm_id)
    assert cloud.backend.find_created_vm(operation_id) == second


@pytest.mark.parametrize(
    ("patch", "is_changed"),
    [
        (VMPatch(), False),
        (VMPatch(metadata={"a": "1", "absent": None}), False),
        (VMPatch(metadata={"a": "2"}), True),
        (VMPatch(metadata={"a": None}), True),
        (VMPatch(name="mem-vm"), True),
    ],
)
def test_update_changes_updated_at_as_nova_does(
    make_cloud: MemoryCloudFactory, clock: Clock, patch: VMPatch, is_changed: bool
) -> None:
    cloud = make_cloud()
    vm = cloud.boot_vm(metadata={"a": "1"})
    clock.sleep(1)
    cloud.backend.update_vm(vm.id, patch)
    assert (cloud.backend.get_vm(vm.id).updated_at == clock()) is is_changed


def test_instance_keeps_its_project(make_cloud: MemoryCloudFactory) -> None:
    cloud = make_cloud(default_project="ours")
    assert cloud.boot_vm().project == "ours"
    action = cloud.create_vm(replace(cloud.build_spec(metadata={"a": "b"}), project="web"))
    cloud.backend.update_vm(action.vm_id, VMPatch(metadata={"a": None, "c": "d"}))
    vm = cloud.wait_until_settled(action.vm_id)
    assert (vm.project, dict(vm.metadata)) == ("web", {"c": "d"})
    cloud.backend.perform_action(vm.id, Verb.DELETE)
    (deleted,) = (
        vm for vm in cloud.backend.list_changed_since(vm.created_at) if vm.status is Status.DELETED
    )
    assert (deleted.id, deleted.project) == (vm.id, "web")


def test_project_counts_as_a_metadata_item(make_cloud: MemoryCloudFactory) -> None:
    cloud = make_cloud()
    full = replace(cloud.build_spec(metadata={str(n): "" for n in range(127)}), project="web")
    vm_id = cloud.create_vm(full).vm_id
    with pytest.raises(QuotaExceeded, match="metadata items exceeds 128"):
        cloud.backend.update_vm(vm_id, VMPatch(metadata={"one more": ""}))
    with pytest.raises(QuotaExceeded, match="metadata items exceeds 128"):
        cloud.create_vm(replace(full, metadata={**full.metadata, "one more": ""}))


def test_refused_update_changes_nothing(make_cloud: MemoryCloudFactory) -> None:
    cloud = make_cloud()
    vm = cloud.boot_vm()
    cloud.backend.update_vm(vm.id, VMPatch(metadata={str(n): "" for n in range(128)}))
    with pytest.raises(QuotaExceeded, match="metadata items exceeds 128"):
        cloud.backend.update_vm(vm.id, VMPatch(name="b", metadata={"one more": ""}))
    assert cloud.backend.get_vm(vm.id).name == vm.name
    assert len(cloud.backend.get_vm(vm.id).metadata) == 128
    with pytest.raises(QuotaExceeded):
        cloud.create_vm(cloud.build_spec(metadata={str(n): "" for n in range(129)}))


def test_update_takes_the_latency_of_update(make_cloud: MemoryCloudFactory, clock: Clock) -> None:
    cloud = make_cloud("update=2")
    vm = cloud.boot_vm()
    started_at = clock()
    cloud.backend.update_vm(vm.id, VMPatch(name="b"))
    assert (clock() - started_at).total_seconds() == 2


def test_vms_are_copies(make_cloud: MemoryCloudFactory) -> None:
    cloud = make_cloud()
    metadata = {"a": "1"}
    vm = cloud.boot_vm(metadata=metadata)
    metadata["a"] = "2"
    vm.metadata["a"] = "3"
    assert dict(cloud.backend.get_vm(vm.id).metadata) == {"a": "1"}


def test_history_of_deleted_instances_is_bounded(make_cloud: MemoryCloudFactory) -> None:
    cloud, excess = make_cloud(), 50
    assert DELETED_HISTORY == MAX_DELETED_LOGS
    actions = []
    for _ in range(DELETED_HISTORY + excess):
        actions.append(cloud.create_vm(cloud.build_spec()))
        cloud.delete_vm(actions[-1].vm_id)
    assert len(cloud.backend.list_changed_since(LONG_BEFORE)) == DELETED_HISTORY
    for action in actions[:excess]:
        with pytest.raises(VMNotFound):
            cloud.backend.get_outcome(action)
    for action in actions[excess:]:
        assert cloud.backend.get_outcome(action) is ActionOutcome.SUCCEEDED
