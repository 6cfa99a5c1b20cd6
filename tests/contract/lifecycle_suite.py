"""What every driver must do with a VM that is there."""

from datetime import timedelta

import pytest

from tests.contract.assertions import (
    HARD,
    SOFT,
    WALK,
    WORDS,
    check_gone,
    check_refusals,
    identity,
    until_settled,
)
from tests.contract.cloud_under_test import Cloud
from vmapi.backends.base import AcceptedAction, ActionOutcome
from vmapi.domain.lifecycle import TARGET_STATUS_BY_VERB, Status, Task, Verb
from vmapi.domain.vm import VMPatch
from vmapi.errors import TaskInProgress


class LifeSuite:
    """Actions, tasks and what has become of them."""

    def test_life(self, cloud: Cloud) -> None:
        vm = cloud.boot()
        check_refusals(cloud, vm, Status.RUNNING)
        for verb in WALK:
            before = vm
            vm = cloud.perform(vm, verb)
            check_refusals(cloud, vm, TARGET_STATUS_BY_VERB[verb])
            assert vm.backend_status == WORDS[vm.status]
            assert vm.updated_at >= before.updated_at
            assert identity(vm) == identity(before)
        receipt = cloud.backend.perform_action(vm.id, Verb.DELETE)
        cloud.gone(vm.id)
        check_gone(cloud, vm.id)
        assert cloud.ended(receipt) is ActionOutcome.SUCCEEDED
        assert vm.id not in {other.id for other in cloud.backend.list_vms()}
        assert not cloud.backend.list_vms(name=vm.name)

    def test_tasks_are_shown_while_under_way(self, cloud: Cloud) -> None:
        vm = cloud.boot()
        stages = {Status.RUNNING: Verb.STOP, Status.STOPPED: Verb.START}
        tasks = {Verb.STOP: Task.STOPPING, Verb.START: Task.STARTING}
        for status, verb in stages.items():
            assert cloud.settle(vm.id).status is status
            receipt = cloud.backend.perform_action(vm.id, verb)
            seen = until_settled(cloud, vm.id)
            assert {each.task for each in seen} <= {None, tasks[verb]}
            assert {each.status for each in seen} <= {status, TARGET_STATUS_BY_VERB[verb]}
            if cloud.slow_actions:
                assert seen[0].task is tasks[verb]
            assert cloud.ended(receipt) is ActionOutcome.SUCCEEDED

    def test_one_task_at_a_time(self, cloud: Cloud) -> None:
        if not cloud.slow_actions:
            pytest.skip("an action may be over before the next one comes")
        vm = cloud.boot()
        receipt = cloud.backend.perform_action(vm.id, Verb.STOP)
        assert cloud.backend.get_outcome(receipt) is ActionOutcome.PENDING
        for verb in (Verb.STOP, Verb.PAUSE, SOFT, HARD):
            with pytest.raises(TaskInProgress):
                cloud.backend.perform_action(vm.id, verb)
        with pytest.raises(TaskInProgress):
            cloud.backend.update_vm(vm.id, VMPatch(metadata={"env": "test"}))
        cloud.backend.update_vm(vm.id, VMPatch(name=cloud.name("renamed")))
        assert cloud.backend.get_vm(vm.id).name == cloud.name("renamed")
        cloud.delete(vm.id)

    def test_performed_ones_are_found(self, cloud: Cloud) -> None:
        vm = cloud.boot()
        before, later = vm.created_at, vm.updated_at + timedelta(days=1)
        assert cloud.backend.find_action(vm.id, Verb.STOP, before) is None
        receipt = cloud.backend.perform_action(vm.id, Verb.STOP)
        assert cloud.ended(receipt) is ActionOutcome.SUCCEEDED
        assert cloud.backend.find_action(vm.id, Verb.STOP, before) == receipt
        assert cloud.backend.find_action(vm.id, Verb.STOP, later) is None
        known = {receipt.request_id}
        assert cloud.backend.find_action(vm.id, Verb.STOP, before, known) is None
        assert cloud.backend.find_action(vm.id, Verb.PAUSE, before) is None
        never = AcceptedAction(vm.id, f"req-{cloud.unknown_id()}")
        assert cloud.backend.get_outcome(never) is ActionOutcome.PENDING
