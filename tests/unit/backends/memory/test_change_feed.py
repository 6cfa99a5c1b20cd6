"""The change feed of the in-memory cloud."""

from collections.abc import Callable

import pytest

from tests.contract.cloud_under_test import CloudUnderTest
from tests.support.fake_clock import Clock
from tests.support.memory_cloud import MemoryCloudFactory
from vmapi.backends.memory.instances import DELETED_HISTORY
from vmapi.domain.lifecycle import Status, Task, Verb
from vmapi.domain.vm import VM, VMPatch


def read_feed(cloud: CloudUnderTest, position: int | None) -> tuple[list[VM], int]:
    changes = cloud.backend.list_changes_after(position)
    return list(changes.vms), changes.position


def test_first_read_has_all_instances_and_is_not_complete(make_cloud: MemoryCloudFactory) -> None:
    cloud = make_cloud()
    vms = [cloud.boot_vm(f"web-{number}") for number in range(3)]
    changes = cloud.backend.list_changes_after(None)
    assert [vm.id for vm in changes.vms] == [vm.id for vm in vms]
    assert not changes.is_complete
    assert cloud.backend.list_changes_after(changes.position).vms == []


@pytest.mark.parametrize(
    "change",
    [
        lambda cloud, vm: cloud.backend.update_vm(vm.id, VMPatch(name="web-2")),
        lambda cloud, vm: cloud.backend.update_vm(vm.id, VMPatch(metadata={"a": "1"})),
        lambda cloud, vm: cloud.backend.perform_action(vm.id, Verb.STOP),
        lambda cloud, vm: cloud.backend.perform_action(vm.id, Verb.DELETE),
    ],
    ids=["rename", "metadata", "stop", "delete"],
)
def test_feed_reports_only_the_changed_instance(
    make_cloud: MemoryCloudFactory, change: Callable[[CloudUnderTest, VM], None]
) -> None:
    cloud = make_cloud()
    vm, _ = cloud.boot_vm("web-1"), cloud.boot_vm("db-1")
    _, position = read_feed(cloud, None)
    change(cloud, vm)
    vms, newest = read_feed(cloud, position)
    assert [(changed.id, changed != vm) for changed in vms] == [(vm.id, True)]
    assert cloud.backend.list_changes_after(position).is_complete
    assert read_feed(cloud, newest) == ([], newest)


def test_feed_reports_the_start_and_the_end_of_an_action(
    make_cloud: MemoryCloudFactory, clock: Clock
) -> None:
    cloud = make_cloud("create=0,*=1")
    vm = cloud.boot_vm()
    _, position = read_feed(cloud, None)
    cloud.backend.perform_action(vm.id, Verb.STOP)
    (stopping,), position = read_feed(cloud, position)
    assert (stopping.status, stopping.task) == (Status.RUNNING, Task.STOPPING)
    clock.sleep(1)
    (stopped,), _ = read_feed(cloud, position)
    assert (stopped.status, stopped.task) == (Status.STOPPED, None)


def test_feed_says_when_it_has_forgotten_deletions(make_cloud: MemoryCloudFactory) -> None:
    cloud = make_cloud()
    first = cloud.boot_vm()
    _, position = read_feed(cloud, None)
    cloud.backend.perform_action(first.id, Verb.DELETE)
    for number in range(DELETED_HISTORY):
        vm = cloud.boot_vm(f"web-{number}")
        assert cloud.backend.list_changes_after(position).is_complete
        cloud.backend.perform_action(vm.id, Verb.DELETE)
    cloud.backend.ping()
    assert not cloud.backend.list_changes_after(position).is_complete
