"""What happens to machines of the in-memory cloud, and when."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.contract.cloud_under_test import Cloud
from tests.support.fake_clock import Clock
from vmapi.backends.base import ActionOutcome
from vmapi.backends.memory.driver import MemoryBackend
from vmapi.domain.lifecycle import Status, Task, Verb
from vmapi.domain.vm import VMPatch
from vmapi.errors import InvalidState, QuotaExceeded, TaskInProgress, VMNotFound
from vmapi.settings.memory import parse_latency

Make = Callable[..., Cloud]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make(clock: Clock) -> Make:
    def made(latency: str = "0", **given: str) -> Cloud:
        backend = MemoryBackend(
            latency=parse_latency(latency), clock=clock, sleep=clock.sleep, **given
        )  # type: ignore[arg-type]
        return Cloud(backend, "mem", clock.sleep)

    return made


def test_a_build_takes_its_time(make: Make, clock: Clock) -> None:
    cloud = make("create=2")
    receipt = cloud.create(cloud.spec())
    assert cloud.backend.find_created_vm(cloud.operation_id("operation")) == receipt
    clock.sleep(1.9)
    building = cloud.backend.get_vm(receipt.vm_id)
    assert (building.status, building.task) == (Status.BUILDING, Task.CREATING)
    assert (building.backend_status, building.addresses) == ("BUILD", ())
    assert not building.launched
    clock.sleep(60)
    vm = cloud.backend.get_vm(receipt.vm_id)
    assert (vm.status, vm.backend_status, vm.task) == (Status.RUNNING, "ACTIVE", None)
    assert (vm.updated_at - vm.created_at).total_seconds() == 2
    assert vm.ip_address == "10.0.0.2"


@pytest.mark.parametrize(
    ("verb", "word", "task"),
    [
        (Verb.RESTART_SOFT, "REBOOT", Task.RESTARTING),
        (Verb.RESTART_HARD, "HARD_REBOOT", Task.RESTARTING),
        (Verb.STOP, "ACTIVE", Task.STOPPING),
        (Verb.PAUSE, "ACTIVE", Task.PAUSING),
        (Verb.DELETE, "ACTIVE", Task.DELETING),
    ],
)
def test_what_is_seen_under_way(
    make: Make, clock: Clock, verb: Verb, word: str, task: Task
) -> None:
    cloud = make("create=0,*=1")
    vm = cloud.boot()
    clock.sleep(1)
    receipt = cloud.backend.perform_action(vm.id, verb)
    seen = cloud.backend.get_vm(vm.id)
    assert (seen.status, seen.backend_status, seen.task) == (Status.RUNNING, word, task)
    assert seen.updated_at == clock()
    assert cloud.backend.get_outcome(receipt) is ActionOutcome.PENDING


def test_nova_looks_at_the_state_before_the_task(make: Make) -> None:
    cloud = make("create=0,*=1")
    vm = cloud.boot()
    cloud.backend.perform_action(vm.id, Verb.STOP)
    with pytest.raises(TaskInProgress, match="while it is in task_state powering-off"):
        cloud.backend.perform_action(vm.id, Verb.PAUSE)
    with pytest.raises(InvalidState, match="while it is in vm_state active"):
        cloud.backend.perform_action(vm.id, Verb.START)


def test_a_delete_overtakes_what_is_under_way(make: Make, clock: Clock) -> None:
    cloud = make("create=0,stop=5,delete=1")
    vm = cloud.boot()
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


def test_the_same_operation_twice_makes_two(make: Make) -> None:
    cloud = make()
    first, second = cloud.create(cloud.spec()), cloud.create(cloud.spec())
    operation = cloud.operation_id("operation")
    assert cloud.backend.find_created_vm(operation) == first
    cloud.delete(first.vm_id)
    assert cloud.backend.find_created_vm(operation) == second


@pytest.mark.parametrize(
    ("changes", "moves"),
    [
        (VMPatch(), False),
        (VMPatch(metadata={"a": "1", "absent": None}), False),
        (VMPatch(metadata={"a": "2"}), True),
        (VMPatch(metadata={"a": None}), True),
        (VMPatch(name="mem-vm"), True),
    ],
)
def test_updated_at_moves_as_in_nova(
    make: Make, clock: Clock, changes: VMPatch, moves: bool
) -> None:
    cloud = make()
    vm = cloud.boot(metadata={"a": "1"})
    clock.sleep(1)
    cloud.backend.update_vm(vm.id, changes)
    assert (cloud.backend.get_vm(vm.id).updated_at == clock()) is moves


def test_a_machine_carries_its_project(make: Make) -> None:
    cloud = make(default_project="ours")
    assert cloud.boot().project == "ours"
    receipt = cloud.create(replace(cloud.spec(metadata={"a": "b"}), project="web"))
    cloud.backend.update_vm(receipt.vm_id, VMPatch(metadata={"a": None, "c": "d"}))
    vm = cloud.settle(receipt.vm_id)
    assert (vm.project, dict(vm.metadata)) == ("web", {"c": "d"})
    cloud.backend.perform_action(vm.id, Verb.DELETE)
    (gone,) = (
        vm for vm in cloud.backend.list_changed_since(vm.created_at) if vm.status is Status.DELETED
    )
    assert (gone.id, gone.project) == (vm.id, "web")


def test_the_mark_counts_as_one_of_novas_pairs(make: Make) -> None:
    cloud = make()
    full = replace(cloud.spec(metadata={str(n): "" for n in range(127)}), project="web")
    vm_id = cloud.create(full).vm_id
    with pytest.raises(QuotaExceeded, match="metadata items exceeds 128"):
        cloud.backend.update_vm(vm_id, VMPatch(metadata={"one more": ""}))
    with pytest.raises(QuotaExceeded, match="metadata items exceeds 128"):
        cloud.create(replace(full, metadata={**full.metadata, "one more": ""}))


def test_a_refused_update_changes_nothing(make: Make) -> None:
    cloud = make()
    vm = cloud.boot()
    cloud.backend.update_vm(vm.id, VMPatch(metadata={str(n): "" for n in range(128)}))
    with pytest.raises(QuotaExceeded, match="metadata items exceeds 128"):
        cloud.backend.update_vm(vm.id, VMPatch(name="b", metadata={"one more": ""}))
    assert cloud.backend.get_vm(vm.id).name == vm.name
    assert len(cloud.backend.get_vm(vm.id).metadata) == 128
    with pytest.raises(QuotaExceeded):
        cloud.create(cloud.spec(metadata={str(n): "" for n in range(129)}))


def test_an_update_lasts_as_long_as_the_call(make: Make, clock: Clock) -> None:
    cloud = make("update=2")
    vm = cloud.boot()
    begun = clock()
    cloud.backend.update_vm(vm.id, VMPatch(name="b"))
    assert (clock() - begun).total_seconds() == 2


def test_copies_are_handed_out(make: Make) -> None:
    cloud = make()
    given = {"a": "1"}
    vm = cloud.boot(metadata=given)
    given["a"] = "2"
    vm.metadata["a"] = "3"  # type: ignore[index]
    assert dict(cloud.backend.get_vm(vm.id).metadata) == {"a": "1"}


def test_what_it_remembers_is_bounded(make: Make) -> None:
    cloud = make()
    for _ in range(1_050):
        vm_id = cloud.create(cloud.spec()).vm_id
        cloud.delete(vm_id)
    ledger = cloud.backend._cloud.action_log  # type: ignore[attr-defined]
    assert len(ledger._actions) == len(ledger._deleted_ids) == 1_000
