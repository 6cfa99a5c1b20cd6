"""What every driver must do when a VM is created."""

from datetime import timedelta
from ipaddress import ip_address
from random import Random
from typing import Any

import pytest

from tests.contract.assertions import PERFORMED, check_broken
from tests.contract.cloud_under_test import Cloud
from vmapi.domain.lifecycle import Status, Task
from vmapi.domain.vm import VMPatch
from vmapi.errors import (
    FlavorNotFound,
    ImageNotFound,
    InvalidState,
    KeyNotFound,
    NetworkNotFound,
    SecurityGroupNotFound,
    ValidationFailed,
)


class CreationSuite:
    """What is made, what is refused, and what fails."""

    def test_what_is_created(self, cloud: Cloud) -> None:
        spec = cloud.spec(
            metadata={"env": "test", "vmapi.own": "hidden"}, user_data=b"#cloud-config\n{}\n"
        )
        receipt = cloud.create(spec)
        assert receipt.request_id
        for vm in (cloud.backend.get_vm(receipt.vm_id), cloud.settle(receipt.vm_id)):
            assert (vm.id, vm.name) == (receipt.vm_id, spec.name)
            assert (vm.flavor, vm.image) == (cloud.flavor.name, cloud.image.name)
            assert (vm.vcpus, vm.ram_mb) == (cloud.flavor.vcpus, cloud.flavor.ram_mb)
            assert vm.project == "default"
            assert dict(vm.metadata) == {"env": "test"}
            assert vm.key_name is None
            assert vm.fault is None
            assert not vm.locked
        assert (vm.status, vm.backend_status, vm.task) == (Status.RUNNING, "ACTIVE", None)
        assert vm.launched
        assert vm.security_groups == ("default",)
        assert {address.network for address in vm.addresses} == {cloud.network.name}
        assert ip_address(vm.addresses[0].ip).version == vm.addresses[0].version
        assert vm.addresses[0].type == "fixed"
        assert timedelta(0) == vm.created_at.utcoffset() == vm.updated_at.utcoffset()
        assert vm.created_at <= vm.updated_at
        assert vm in cloud.backend.list_vms()
        assert list(cloud.backend.list_vms(name=vm.name)) == [vm]

    def test_a_created_one_is_found_by_its_operation(self, cloud: Cloud) -> None:
        operation = cloud.operation_id("operation")
        assert cloud.backend.find_created_vm(operation) is None
        receipt = cloud.create(cloud.spec(network_id=None))
        found = cloud.backend.find_created_vm(operation)
        assert found is not None
        assert found.vm_id == receipt.vm_id
        vm = cloud.settle(receipt.vm_id)
        assert vm.status is Status.RUNNING
        found = cloud.backend.find_created_vm(operation)
        assert found is not None
        assert found.vm_id == vm.id
        assert cloud.backend.find_created_vm(cloud.operation_id("another")) is None
        cloud.delete(vm.id)
        assert cloud.backend.find_created_vm(operation) is None

    @pytest.mark.parametrize(
        ("member", "error"),
        [
            ("flavor_id", FlavorNotFound),
            ("image_id", ImageNotFound),
            ("network_id", NetworkNotFound),
            ("key_name", KeyNotFound),
            ("security_groups", SecurityGroupNotFound),
        ],
    )
    def test_nothing_is_made_from_what_is_unknown(
        self, cloud: Cloud, member: str, error: type[Exception]
    ) -> None:
        unknown = cloud.unknown_id()
        wrong: dict[str, Any] = {member: (unknown,) if member == "security_groups" else unknown}
        spec = cloud.spec(**wrong)
        with pytest.raises(error) as caught:
            cloud.create(spec)
        assert caught.type is error
        assert not cloud.backend.list_vms(name=spec.name)

    def test_user_data_that_is_too_long_is_refused(self, cloud: Cloud) -> None:
        incompressible = Random(0).randbytes(49_150)
        with pytest.raises(ValidationFailed):
            cloud.create(cloud.spec(user_data=incompressible))

    def test_one_being_built_can_only_be_deleted(self, cloud: Cloud) -> None:
        if cloud.slow_build is None:
            pytest.skip("a build may be over before it is looked at")
        receipt = cloud.create(cloud.slow_build(cloud.spec()))
        vm = cloud.backend.get_vm(receipt.vm_id)
        assert (vm.status, vm.task, vm.backend_status) == (Status.BUILDING, Task.CREATING, "BUILD")
        for verb in PERFORMED:
            with pytest.raises(InvalidState):
                cloud.backend.perform_action(vm.id, verb)
        with pytest.raises(InvalidState):
            cloud.backend.update_vm(vm.id, VMPatch(metadata={"env": "test"}))
        assert vm.id in {other.id for other in cloud.backend.list_vms(name=vm.name)}
        cloud.delete(vm.id)

    def test_a_build_that_fails_says_why(self, cloud: Cloud) -> None:
        if cloud.failing_build is None:
            pytest.skip("this cloud cannot be told to fail")
        vm = cloud.settle(cloud.create(cloud.failing_build(cloud.spec())).vm_id)
        check_broken(cloud, vm, "build_failed")

    def test_a_build_that_finds_no_host_says_so(self, cloud: Cloud) -> None:
        if cloud.homeless_build is None:
            pytest.skip("this cloud cannot be told to be full")
        vm = cloud.settle(cloud.create(cloud.homeless_build(cloud.spec())).vm_id)
        check_broken(cloud, vm, "no_capacity")
