"""The driver contract for actions on a VM, their tasks and outcomes."""

from datetime import timedelta

import pytest

from tests.contract.assertions import (
    ACTION_SEQUENCE,
    HARD,
    NOVA_STATUSES,
    SOFT,
    assert_actions_refused,
    assert_vm_deleted,
    constant_fields,
    observe_until_settled,
)
from tests.contract.cloud_under_test import CloudUnderTest
from vmapi.backends.base import AcceptedAction, ActionOutcome
from vmapi.domain.lifecycle import TARGET_STATUS_BY_VERB, Status, Task, Verb
from vmapi.domain.vm import VMPatch
from vmapi.errors import TaskInProgress


class LifecycleSuite:
    """Tests of actions, tasks and outcomes."""

    def test_actions_lead_through_all_states(self, cloud: CloudUnderTest) -> None:
        vm = cloud.boot_vm()
        assert_actions_refused(cloud, vm, Status.RUNNING)
        for verb in ACTION_SEQUENCE:
            previous = vm
            vm = cloud.perform_action(vm, verb)
            assert_actions_refused(cloud, vm, TARGET_STATUS_BY_VERB[verb])
            assert vm.backend_status == NOVA_STATUSES[vm.status]
            assert vm.updated_at >= previous.updated_at
            assert constant_fields(vm) == constant_fields(previous)
        action = cloud.backend.perform_action(vm.id, Verb.DELETE)
        cloud.wait_until_deleted(vm.id)
        assert_vm_deleted(cloud, vm.id)
        assert cloud.wait_for_outcome(action) is ActionOutcome.SUCCEEDED
        assert vm.id not in {other.id for other in cloud.backend.list_vms()}
        assert not cloud.backend.list_vms(name=vm.name)

    def test_task_is_visible_during_an_action(self, cloud: CloudUnderTest) -> None:
        vm = cloud.boot_vm()
        verbs = {Status.RUNNING: Verb.STOP, Status.STOPPED: Verb.START}
        tasks = {Verb.STOP: Task.STOPPING, Verb.START: Task.STARTING}
        for status, verb in verbs.items():
            assert cloud.wait_until_settled(vm.id).status is status
            action = cloud.backend.perform_action(vm.id, verb)
            observations = observe_until_settled(cloud, vm.id)
            assert {vm.task for vm in observations} <= {None, tasks[verb]}
            assert {vm.status for vm in observations} <= {status, TARGET_STATUS_BY_VERB[verb]}
            if cloud.slow_actions:
                assert observations[0].task is tasks[verb]
            assert cloud.wait_for_outcome(action) is ActionOutcome.SUCCEEDED

    def test_second_action_is_refused_during_a_task(self, cloud: CloudUnderTest) -> None:
        if not cloud.slow_actions:
            pytest.skip("an action may finish before the next request")
        vm = cloud.boot_vm()
        action = cloud.backend.perform_action(vm.id, Verb.STOP)
        assert cloud.backend.get_outcome(action) is ActionOutcome.PENDING
        for verb in (Verb.STOP, Verb.PAUSE, SOFT, HARD):
            with pytest.raises(TaskInProgress):
                cloud.backend.perform_action(vm.id, verb)
        with pytest.raises(TaskInProgress):
            cloud.backend.update_vm(vm.id, VMPatch(metadata={"env": "test"}))
        cloud.backend.update_vm(vm.id, VMPatch(name=cloud.vm_name("renamed")))
        assert cloud.backend.get_vm(vm.id).name == cloud.vm_name("renamed")
        cloud.delete_vm(vm.id)

    def test_action_is_found_by_verb_and_time(self, cloud: CloudUnderTest) -> None:
        vm = cloud.boot_vm()
        earlier, later = vm.created_at, vm.updated_at + timedelta(days=1)
        assert cloud.backend.find_action(vm.id, Verb.STOP, earlier) is None
        action = cloud.backend.perform_action(vm.id, Verb.STOP)
        assert cloud.wait_for_outcome(action) is ActionOutcome.SUCCEEDED
        assert cloud.backend.find_action(vm.id, Verb.STOP, earlier) == action
        assert cloud.backend.find_action(vm.id, Verb.STOP, later) is None
        request_ids = {action.request_id}
        assert cloud.backend.find_action(vm.id, Verb.STOP, earlier, request_ids) is None
        assert cloud.backend.find_action(vm.id, Verb.PAUSE, earlier) is None
        never_sent = AcceptedAction(vm.id, f"req-{cloud.unknown_id()}")
        assert cloud.backend.get_outcome(never_sent) is ActionOutcome.PENDING
