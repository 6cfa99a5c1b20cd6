"""What the machines of the in-memory cloud have: quota, addresses, a console."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.contract.cloud_under_test import Cloud
from tests.support.fake_clock import Clock
from vmapi.backends.memory.driver import MemoryBackend
from vmapi.domain.lifecycle import Status, Verb
from vmapi.errors import InvalidState, QuotaExceeded
from vmapi.settings.memory import MemoryLimits, parse_faults, parse_latency

Make = Callable[..., Cloud]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make(clock: Clock) -> Make:
    def made(latency: str = "0", **given: Any) -> Cloud:
        backend = MemoryBackend(
            latency=parse_latency(latency), clock=clock, sleep=clock.sleep, **given
        )
        return Cloud(backend, "mem", clock.sleep)

    return made


def test_quota(make: Make) -> None:
    cloud = make(limits=MemoryLimits(vms=2, vcpus=3, ram_mb=1024))
    first = cloud.boot()
    cloud.backend.set_faults("build_failed=1")  # type: ignore[attr-defined]
    cloud.boot()
    message = (
        "Quota exceeded for instances, ram: Requested 1, 512, "
        "but already used 2, 1024 of 2, 1024 instances, ram"
    )
    with pytest.raises(QuotaExceeded) as caught:
        cloud.boot()
    assert caught.value.detail == message
    cloud.delete(first.id)
    cloud.boot()


def test_addresses_are_given_back(make: Make) -> None:
    cloud = make(limits=MemoryLimits(vms=300, vcpus=300), default_network="public")
    vms = [cloud.boot() for _ in range(254)]
    addresses = [vm.ip_address for vm in vms if vm.ip_address]
    assert addresses[0] == "203.0.113.2"
    assert addresses[-1] == "203.0.113.254"
    assert len(set(addresses)) == len(addresses) == 253
    assert vms[-1].status is Status.ERROR
    assert vms[-1].fault is not None
    assert vms[-1].fault.code == "build_failed"
    assert "No fixed IP addresses available" in vms[-1].fault.message
    cloud.delete(vms[7].id)
    assert cloud.boot().ip_address == addresses[7]


def test_the_console_tells_what_happened_but_not_what_was_secret(make: Make) -> None:
    cloud = make()
    data = b"#cloud-config\nssh_authorized_keys:\n- ssh-ed25519 AAAAC3 me\n- ssh-rsa AAAAB3 me\n"
    vm = cloud.boot(user_data=data, key_name="demo")
    log = cloud.backend.get_console(vm.id, None)
    assert vm.name in log
    assert "3 SSH keys authorized" in log
    assert f"{len(data)} bytes of user data" in log
    assert cloud.backend.get_console(vm.id, 0) == ""
    cloud.perform(vm, Verb.STOP)
    assert "Power-Off" in cloud.backend.get_console(vm.id, 1)
    cloud.perform(vm, Verb.START)
    cloud.perform(vm, Verb.RESTART_SOFT)
    assert cloud.backend.get_console(vm.id, None).count(f"Booting {vm.name}") == 3
    machine = cloud.backend._cloud.get_instance(vm.id)  # type: ignore[attr-defined]
    assert "AAAA" not in cloud.backend.get_console(vm.id, None) + repr(machine)


def test_one_that_failed_to_build_has_no_console(make: Make) -> None:
    cloud = make(faults=parse_faults("no_capacity=1"))
    vm = cloud.boot()
    with pytest.raises(InvalidState, match="is not ready"):
        cloud.backend.get_console(vm.id, None)


def test_threads_do_not_get_in_each_others_way() -> None:
    backend = MemoryBackend(limits=MemoryLimits(vms=50, vcpus=1000, ram_mb=999_999))
    cloud = Cloud(backend, "mem", lambda _: None)
    spec = cloud.spec()

    def create(number: int) -> bool:
        try:
            backend.create_vm(spec, str(number))
        except QuotaExceeded:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        made = list(pool.map(create, range(200)))
    assert made.count(True) == len(backend.list_vms()) == 50
    assert len({vm.ip_address for vm in backend.list_vms()}) == 50
