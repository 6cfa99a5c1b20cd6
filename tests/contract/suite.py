"""The driver contract: a driver's test is a subclass of `BackendSuite` with a `cloud` fixture.

A boot takes seconds on a real cloud. So one VM passes through many states in a test, instead of one
VM per assertion.
"""

from collections.abc import Iterator

import pytest

from tests.contract.assertions import MALFORMED_IDS, assert_vm_unknown
from tests.contract.cloud_under_test import CloudUnderTest
from tests.contract.create_suite import CreateSuite
from tests.contract.lifecycle_suite import LifecycleSuite
from vmapi.domain.lifecycle import Verb
from vmapi.domain.vm import VMPatch


class BackendSuite(LifecycleSuite, CreateSuite):
    """The contract of `vmapi.backends.base.Backend` as tests of behaviour."""

    @pytest.fixture
    def cloud(self) -> Iterator[CloudUnderTest]:
        """Return the cloud under test; each subclass provides one."""
        raise NotImplementedError

    def test_backend_responds_and_describes_itself(self, cloud: CloudUnderTest) -> None:
        cloud.backend.ping()
        described = cloud.backend.describe()
        assert described
        assert all(isinstance(text, str) for pair in described.items() for text in pair)

    def test_flavors_are_listed(self, cloud: CloudUnderTest) -> None:
        flavors = cloud.backend.list_flavors(refresh=True)
        assert len({flavor.id for flavor in flavors}) == len(flavors) > 0
        assert all(flavor.name and flavor.vcpus > 0 and flavor.ram_mb > 0 for flavor in flavors)
        assert set(cloud.backend.list_flavors()) == set(flavors)

    def test_images_are_listed(self, cloud: CloudUnderTest) -> None:
        images = cloud.backend.list_images(refresh=True)
        assert len({image.id for image in images}) == len(images) > 0
        assert any(image.status == "active" and image.name for image in images)
        assert set(cloud.backend.list_images()) == set(images)

    def test_networks_are_listed(self, cloud: CloudUnderTest) -> None:
        networks = cloud.backend.list_networks(refresh=True)
        assert len({network.id for network in networks}) == len(networks) > 0
        assert sum(network.default for network in networks) <= 1
        assert set(cloud.backend.list_networks()) == set(networks)

    def test_update_changes_name_and_metadata(self, cloud: CloudUnderTest) -> None:
        vm = cloud.boot_vm(metadata={"env": "test", "vmapi.own": "hidden"})
        update_vm, get_vm = cloud.backend.update_vm, cloud.backend.get_vm
        for _ in range(2):
            update_vm(
                vm.id,
                VMPatch(name=cloud.vm_name("b"), metadata={"env": None, "tier": "é", "x": ""}),
            )
            assert get_vm(vm.id).name == cloud.vm_name("b")
            assert dict(get_vm(vm.id).metadata) == {"tier": "é", "x": ""}
        update_vm(vm.id, VMPatch(metadata={"x": "1", "absent": None}))
        assert dict(get_vm(vm.id).metadata) == {"tier": "é", "x": "1"}
        update_vm(vm.id, VMPatch())
        for verb in (Verb.PAUSE, Verb.RESUME, Verb.STOP):
            cloud.perform_action(vm, verb)
            update_vm(vm.id, VMPatch(name=cloud.vm_name(verb), metadata={"x": verb.value}))
            assert get_vm(vm.id).name == cloud.vm_name(verb)
            assert dict(get_vm(vm.id).metadata) == {"tier": "é", "x": verb.value}

    def test_vms_are_listed_by_exact_name(self, cloud: CloudUnderTest) -> None:
        vm = cloud.boot_vm("a.b")
        list_vms = cloud.backend.list_vms
        assert [match.id for match in list_vms(name=cloud.vm_name("a.b"))] == [vm.id]
        for other in ("a", "a.b.c", "A.B", "a.*", ".*", "a[", "(", "^a.b$"):
            assert not list_vms(name=cloud.vm_name(other)), other
        for name in ("axb", "a[b", "a+(b)|c$", "a\\b", "ä b & c=d"):
            cloud.backend.update_vm(vm.id, VMPatch(name=cloud.vm_name(name)))
            assert [match.id for match in list_vms(name=cloud.vm_name(name))] == [vm.id], name
        assert not list_vms(name=cloud.vm_name("a.b"))

    def test_console_returns_last_lines(self, cloud: CloudUnderTest) -> None:
        vm = cloud.boot_vm()
        output = cloud.backend.get_console(vm.id, None)
        lines = output.split("\n")
        assert len(lines) > 1
        assert cloud.backend.get_console(vm.id, 2) == "\n".join(lines[-2:])
        assert cloud.backend.get_console(vm.id, 100_000) == output

    def test_unknown_vm_is_not_found(self, cloud: CloudUnderTest) -> None:
        assert_vm_unknown(cloud, cloud.unknown_id())

    @pytest.mark.parametrize("vm_id", MALFORMED_IDS.values(), ids=MALFORMED_IDS.keys())
    def test_malformed_vm_id_is_not_found(self, cloud: CloudUnderTest, vm_id: str) -> None:
        assert_vm_unknown(cloud, vm_id)
