"""What every driver must do: a driver's test is a subclass of `BackendSuite` with a `cloud`.

A boot takes seconds on a real cloud, so that one VM is walked through many states, instead of a
VM for each assertion.
"""

from collections.abc import Iterator

import pytest

from tests.contract.assertions import STRANGE_IDS, check_unknown
from tests.contract.cloud_under_test import Cloud
from tests.contract.create_suite import CreationSuite
from tests.contract.lifecycle_suite import LifeSuite
from vmapi.domain.lifecycle import Verb
from vmapi.domain.vm import VMPatch


class BackendSuite(LifeSuite, CreationSuite):
    """The contract of `vmapi.backends.base.Backend`, as behaviour."""

    @pytest.fixture
    def cloud(self) -> Iterator[Cloud]:
        """Give the cloud to test; a subclass says which."""
        raise NotImplementedError

    def test_answers_and_describes_itself(self, cloud: Cloud) -> None:
        cloud.backend.ping()
        described = cloud.backend.describe()
        assert described
        assert all(isinstance(text, str) for pair in described.items() for text in pair)

    def test_flavors(self, cloud: Cloud) -> None:
        flavors = cloud.backend.list_flavors(refresh=True)
        assert len({flavor.id for flavor in flavors}) == len(flavors) > 0
        assert all(flavor.name and flavor.vcpus > 0 and flavor.ram_mb > 0 for flavor in flavors)
        assert set(cloud.backend.list_flavors()) == set(flavors)

    def test_images(self, cloud: Cloud) -> None:
        images = cloud.backend.list_images(refresh=True)
        assert len({image.id for image in images}) == len(images) > 0
        assert any(image.status == "active" and image.name for image in images)
        assert set(cloud.backend.list_images()) == set(images)

    def test_networks(self, cloud: Cloud) -> None:
        networks = cloud.backend.list_networks(refresh=True)
        assert len({network.id for network in networks}) == len(networks) > 0
        assert sum(network.default for network in networks) <= 1
        assert set(cloud.backend.list_networks()) == set(networks)

    def test_update(self, cloud: Cloud) -> None:
        vm = cloud.boot(metadata={"env": "test", "vmapi.own": "hidden"})
        update, get = cloud.backend.update_vm, cloud.backend.get_vm
        for _ in range(2):
            update(
                vm.id, VMPatch(name=cloud.name("b"), metadata={"env": None, "tier": "é", "x": ""})
            )
            assert get(vm.id).name == cloud.name("b")
            assert dict(get(vm.id).metadata) == {"tier": "é", "x": ""}
        update(vm.id, VMPatch(metadata={"x": "1", "absent": None}))
        assert dict(get(vm.id).metadata) == {"tier": "é", "x": "1"}
        update(vm.id, VMPatch())
        for verb in (Verb.PAUSE, Verb.RESUME, Verb.STOP):
            cloud.perform(vm, verb)
            update(vm.id, VMPatch(name=cloud.name(verb), metadata={"x": verb.value}))
            assert get(vm.id).name == cloud.name(verb)
            assert dict(get(vm.id).metadata) == {"tier": "é", "x": verb.value}

    def test_vms_of_one_name_only(self, cloud: Cloud) -> None:
        vm = cloud.boot("a.b")
        look = cloud.backend.list_vms
        assert [found.id for found in look(name=cloud.name("a.b"))] == [vm.id]
        for other in ("a", "a.b.c", "A.B", "a.*", ".*", "a[", "(", "^a.b$"):
            assert not look(name=cloud.name(other)), other
        for name in ("axb", "a[b", "a+(b)|c$", "a\\b", "ä b & c=d"):
            cloud.backend.update_vm(vm.id, VMPatch(name=cloud.name(name)))
            assert [found.id for found in look(name=cloud.name(name))] == [vm.id], name
        assert not look(name=cloud.name("a.b"))

    def test_console(self, cloud: Cloud) -> None:
        vm = cloud.boot()
        everything = cloud.backend.get_console(vm.id, None)
        lines = everything.split("\n")
        assert len(lines) > 1
        assert cloud.backend.get_console(vm.id, 2) == "\n".join(lines[-2:])
        assert cloud.backend.get_console(vm.id, 100_000) == everything

    def test_an_unknown_vm(self, cloud: Cloud) -> None:
        check_unknown(cloud, cloud.unknown_id())

    @pytest.mark.parametrize("vm_id", STRANGE_IDS.values(), ids=STRANGE_IDS.keys())
    def test_what_is_no_id_at_all(self, cloud: Cloud, vm_id: str) -> None:
        check_unknown(cloud, vm_id)
