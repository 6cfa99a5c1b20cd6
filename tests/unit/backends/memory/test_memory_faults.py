"""The in-memory cloud fails when it is told to, and as it is told to."""

from collections.abc import Callable
from random import Random

import pytest

from tests.contract.cloud_under_test import Cloud
from tests.support.fake_clock import Clock
from vmapi.backends.base import ActionOutcome
from vmapi.backends.memory.driver import MemoryBackend
from vmapi.domain.lifecycle import Status, Verb
from vmapi.domain.vm import VMPatch
from vmapi.errors import BackendTimeout, BackendUnavailable, InvalidState, QuotaExceeded
from vmapi.settings.memory import parse_faults, parse_memory_limits


def make(faults: str = "", limits: str = "", seed: int = 1) -> tuple[MemoryBackend, Cloud, Clock]:
    clock = Clock()
    backend = MemoryBackend(
        faults=parse_faults(faults),
        limits=parse_memory_limits(limits),
        timeout=30,
        clock=clock,
        sleep=clock.sleep,
        random=Random(seed),
    )
    return backend, Cloud(backend, "mem", clock.sleep), clock


def test_the_next_builds_fail() -> None:
    backend, cloud, _ = make()
    spec = cloud.spec()
    backend.set_faults("no_capacity=1,build_failed=1")
    seen = [cloud.settle(backend.create_vm(spec, "op").vm_id) for _ in range(3)]
    assert [vm.fault and vm.fault.code for vm in seen] == ["no_capacity", "build_failed", None]
    assert seen[0].fault is not None
    assert seen[0].fault.message == "No valid host was found."
    assert seen[0].addresses == ()
    assert [vm.status for vm in seen] == [Status.ERROR, Status.ERROR, Status.RUNNING]


def test_a_refused_create_uses_up_no_fault() -> None:
    backend, cloud, _ = make("build_failed=1", "vms=1,ram_mb=512")
    with pytest.raises(QuotaExceeded):
        cloud.boot(flavor_id=backend.list_flavors()[1].id)
    assert cloud.boot().status is Status.ERROR


def test_unavailable_refuses_everything_and_does_nothing() -> None:
    backend, cloud, clock = make()
    vm, spec = cloud.boot(), cloud.spec()
    backend.set_faults("unavailable=100%")
    calls: list[Callable[[], object]] = [
        backend.ping,
        backend.list_flavors,
        backend.list_images,
        backend.list_networks,
        backend.list_vms,
        lambda: backend.get_vm(vm.id),
        lambda: backend.get_console(vm.id, None),
        lambda: backend.create_vm(spec, "op"),
        lambda: backend.perform_action(vm.id, Verb.STOP),
        lambda: backend.update_vm(vm.id, VMPatch(name="x")),
        lambda: backend.find_created_vm("op"),
        lambda: backend.find_action(vm.id, Verb.STOP, clock()),
    ]
    for call in calls:
        with pytest.raises(BackendUnavailable):
            call()
    backend.set_faults("")
    assert list(backend.list_vms()) == [vm]


def test_slow_calls_take_longer() -> None:
    backend, _, clock = make("slow=1:2")
    begun = clock()
    backend.ping()
    assert (clock() - begun).total_seconds() == 2
    backend.ping()
    assert (clock() - begun).total_seconds() == 2


def test_too_slow_is_a_timeout_after_the_change_was_made() -> None:
    backend, cloud, clock = make()
    vm = cloud.boot()
    backend.set_faults("slow=1:31")
    begun = clock()
    with pytest.raises(BackendTimeout):
        backend.perform_action(vm.id, Verb.STOP)
    assert (clock() - begun).total_seconds() == 30
    assert backend.get_vm(vm.id).status is Status.STOPPED


def test_lost_answers_are_to_changes_that_were_made() -> None:
    backend, cloud, clock = make()
    spec = cloud.spec()
    backend.set_faults("lost_answer=3")
    with pytest.raises(BackendTimeout):
        backend.create_vm(spec, "op")
    found = backend.find_created_vm("op")
    assert found is not None
    vm = backend.get_vm(found.vm_id)
    with pytest.raises(InvalidState):
        backend.perform_action(vm.id, Verb.START)
    with pytest.raises(BackendTimeout):
        backend.perform_action(vm.id, Verb.STOP)
    stopped = backend.find_action(vm.id, Verb.STOP, clock())
    assert stopped is not None
    assert backend.get_outcome(stopped) is ActionOutcome.SUCCEEDED
    with pytest.raises(BackendTimeout):
        backend.update_vm(vm.id, VMPatch(name="renamed"))
    assert backend.get_vm(vm.id).name == "renamed"
    backend.perform_action(vm.id, Verb.START)


def test_a_failed_action_leaves_the_vm_as_it_was() -> None:
    backend, cloud, _ = make()
    vm = cloud.boot()
    backend.set_faults("action_failed=1")
    receipt = backend.perform_action(vm.id, Verb.STOP)
    assert backend.get_outcome(receipt) is ActionOutcome.FAILED
    assert (backend.get_vm(vm.id).status, backend.get_vm(vm.id).fault) == (Status.RUNNING, None)


def test_a_failed_restart_is_an_error_that_a_restart_heals() -> None:
    backend, cloud, _ = make()
    vm = cloud.boot()
    backend.set_faults("action_failed=1")
    assert (
        backend.get_outcome(backend.perform_action(vm.id, Verb.RESTART_SOFT))
        is ActionOutcome.FAILED
    )
    broken = backend.get_vm(vm.id)
    assert (broken.status, broken.launched) == (Status.ERROR, True)
    assert broken.fault is not None
    assert broken.fault.code == "backend_error"
    with pytest.raises(InvalidState):
        backend.perform_action(vm.id, Verb.RESTART_SOFT)
    healed = cloud.perform(vm, Verb.RESTART_HARD)
    assert (healed.status, healed.fault) == (Status.RUNNING, None)


def test_shares_are_decided_by_the_random_numbers_given() -> None:
    def pings(seed: int) -> list[bool]:
        backend, _, _ = make("unavailable=30%", seed=seed)
        answers = []
        for _ in range(200):
            try:
                backend.ping()
                answers.append(True)
            except BackendUnavailable:
                answers.append(False)
        return answers

    assert pings(1) == pings(1) != pings(2)
    assert 30 <= pings(1).count(False) <= 90
