"""Quota, addresses and console of the in-memory cloud."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.contract.cloud_under_test import CloudUnderTest
from tests.support.memory_cloud import MemoryCloudFactory
from tests.support.sample_addresses import is_reserved_for_samples
from vmapi.backends.memory.driver import MemoryBackend
from vmapi.backends.memory.networks import NETWORK_RANGES
from vmapi.domain.lifecycle import Status, Verb
from vmapi.errors import InvalidState, QuotaExceeded
from vmapi.settings.memory import MemoryLimits, parse_faults


def test_create_beyond_quota_is_refused(make_cloud: MemoryCloudFactory) -> None:
    cloud = make_cloud(limits=MemoryLimits(vms=2, vcpus=3, ram_mb=1024))
    first = cloud.boot_vm()
    cloud.backend.set_faults("build_failed=1")
    cloud.boot_vm()
    message = (
        "Quota exceeded for instances, ram: Requested 1, 512, "
        "but already used 2, 1024 of 2, 1024 instances, ram"
    )
    with pytest.raises(QuotaExceeded) as caught:
        cloud.boot_vm()
    assert caught.value.detail == message
    cloud.delete_vm(first.id)
    cloud.boot_vm()


def test_addresses_are_released_with_their_vm(make_cloud: MemoryCloudFactory) -> None:
    cloud = make_cloud(limits=MemoryLimits(vms=300, vcpus=300), default_network="public")
    vms = [cloud.boot_vm() for _ in range(254)]
    addresses = [vm.ip_address for vm in vms if vm.ip_address]
    assert addresses[0] == "203.0.113.2"
    assert addresses[-1] == "203.0.113.254"
    assert len(set(addresses)) == len(addresses) == 253
    assert vms[-1].status is Status.ERROR
    assert vms[-1].fault is not None
    assert vms[-1].fault.code == "build_failed"
    assert "No fixed IP addresses available" in vms[-1].fault.message
    cloud.delete_vm(vms[7].id)
    assert cloud.boot_vm().ip_address == addresses[7]


@pytest.mark.parametrize("network", NETWORK_RANGES)
def test_addresses_belong_to_no_host(make_cloud: MemoryCloudFactory, network: str) -> None:
    vm = make_cloud(default_network=network).boot_vm()
    assert vm.ip_address is not None
    assert is_reserved_for_samples(vm.ip_address)
    assert is_reserved_for_samples(str(NETWORK_RANGES[network].broadcast_address))


def test_console_shows_actions_but_no_user_data(make_cloud: MemoryCloudFactory) -> None:
    cloud = make_cloud()
    data = b"#cloud-config\nssh_authorized_keys:\n- ssh-ed25519 AAAAC3 me\n- ssh-rsa AAAAB3 me\n"
    vm = cloud.boot_vm(user_data=data, key_name="demo")
    output = cloud.backend.get_console(vm.id, None)
    assert vm.name in output
    assert "3 SSH keys authorized" in output
    assert f"{len(data)} bytes of user data" in output
    assert cloud.backend.get_console(vm.id, 0) == ""
    cloud.perform_action(vm, Verb.STOP)
    assert "Power-Off" in cloud.backend.get_console(vm.id, 1)
    cloud.perform_action(vm, Verb.START)
    cloud.perform_action(vm, Verb.RESTART_SOFT)
    assert cloud.backend.get_console(vm.id, None).count(f"Booting {vm.name}") == 3
    instance = cloud.backend.cloud.instances.get(vm.id)
    assert "AAAA" not in cloud.backend.get_console(vm.id, None) + repr(instance)


def test_failed_build_has_no_console(make_cloud: MemoryCloudFactory) -> None:
    cloud = make_cloud(faults=parse_faults("no_capacity=1"))
    vm = cloud.boot_vm()
    with pytest.raises(InvalidState, match="is not ready"):
        cloud.backend.get_console(vm.id, None)


def test_concurrent_creates_respect_the_quota() -> None:
    backend = MemoryBackend(limits=MemoryLimits(vms=50, vcpus=1000, ram_mb=999_999))
    cloud = CloudUnderTest(backend, "mem", lambda _: None)
    spec = cloud.build_spec()

    def create(number: int) -> bool:
        try:
            backend.create_vm(spec, str(number))
        except QuotaExceeded:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        accepted = list(pool.map(create, range(200)))
    assert accepted.count(True) == len(backend.list_vms()) == 50
    assert len({vm.ip_address for vm in backend.list_vms()}) == 50
