"""Fault injection of the in-memory cloud."""

from collections.abc import Callable
from random import Random

import pytest

from tests.contract.cloud_under_test import CloudUnderTest
from tests.support.fake_clock import Clock
from vmapi.backends.base import ActionOutcome
from vmapi.backends.memory.driver import MemoryBackend
from vmapi.domain.lifecycle import Status, Verb
from vmapi.domain.vm import VMPatch
from vmapi.errors import BackendTimeout, BackendUnavailable, InvalidState, QuotaExceeded
from vmapi.settings.memory import parse_faults, parse_memory_limits


def make_cloud(
    faults: str = "", limits: str = "", seed: int = 1
) -> tuple[MemoryBackend, CloudUnderTest, Clock]:
    clock = Clock()
    backend = MemoryBackend(
        faults=parse_faults(faults),
        limits=parse_memory_limits(limits),
        timeout=30,
        clock=clock,
        sleep=clock.sleep,
        random=Random(seed),
    )
    return backend, CloudUnderTest(backend, "mem", clock.sleep), clock


def test_count_fault_fails_the_next_builds() -> None:
    backend, cloud, _ = make_cloud()
    spec = cloud.build_spec()
    backend.set_faults("no_capacity=1,build_failed=1")
    vms = [cloud.wait_until_settled(backend.create_vm(spec, "op").vm_id) for _ in range(3)]
    assert [vm.fault and vm.fault.code for vm in vms] == ["no_capacity", "build_failed", None]
    assert vms[0].fault is not None
    assert vms[0].fault.message == "No valid host was found."
    assert vms[0].addresses == ()
    assert [vm.status for vm in vms] == [Status.ERROR, Status.ERROR, Status.RUNNING]


def test_refused_create_does_not_count_a_fault() -> None:
    backend, cloud, _ = make_cloud("build_failed=1", "vms=1,ram_mb=512")
    with pytest.raises(QuotaExceeded):
        cloud.boot_vm(flavor_id=backend.list_flavors()[1].id)
    assert cloud.boot_vm().status is Status.ERROR


def test_unavailable_fault_refuses_every_call_without_effect() -> None:
    backend, cloud, clock = make_cloud()
    vm, spec = cloud.boot_vm(), cloud.build_spec()
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


def test_slow_fault_delays_a_call() -> None:
    backend, _, clock = make_cloud("slow=1:2")
    started_at = clock()
    backend.ping()
    assert (clock() - started_at).total_seconds() == 2
    backend.ping()
    assert (clock() - started_at).total_seconds() == 2


def test_delay_beyond_timeout_raises_timeout_after_the_change() -> None:
    backend, cloud, clock = make_cloud()
    vm = cloud.boot_vm()
    backend.set_faults("slow=1:31")
    started_at = clock()
    with pytest.raises(BackendTimeout):
        backend.perform_action(vm.id, Verb.STOP)
    assert (clock() - started_at).total_seconds() == 30
    assert backend.get_vm(vm.id).status is Status.STOPPED


def test_lost_answer_fault_raises_timeout_after_the_change() -> None:
    backend, cloud, clock = make_cloud()
    spec = cloud.build_spec()
    backend.set_faults("lost_answer=3")
    with pytest.raises(BackendTimeout):
        backend.create_vm(spec, "op")
    created = backend.find_created_vm("op")
    assert created is not None
    vm = backend.get_vm(created.vm_id)
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


def test_failed_action_leaves_the_status_unchanged() -> None:
    backend, cloud, _ = make_cloud()
    vm = cloud.boot_vm()
    backend.set_faults("action_failed=1")
    action = backend.perform_action(vm.id, Verb.STOP)
    assert backend.get_outcome(action) is ActionOutcome.FAILED
    assert (backend.get_vm(vm.id).status, backend.get_vm(vm.id).fault) == (Status.RUNNING, None)


def test_failed_restart_leaves_an_error_that_a_hard_restart_clears() -> None:
    backend, cloud, _ = make_cloud()
    vm = cloud.boot_vm()
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
    recovered = cloud.perform_action(vm, Verb.RESTART_HARD)
    assert (recovered.status, recovered.fault) == (Status.RUNNING, None)


def test_probability_fault_depends_on_the_seed() -> None:
    def pings(seed: int) -> list[bool]:
        backend, _, _ = make_cloud("unavailable=30%", seed=seed)
        responses = []
        for _ in range(200):
            try:
                backend.ping()
                responses.append(True)
            except BackendUnavailable:
                responses.append(False)
        return responses

    assert pings(1) == pings(1) != pings(2)
    assert 30 <= pings(1).count(False) <= 90
