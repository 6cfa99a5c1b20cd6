"""The driver contract for the creation of a VM."""

from datetime import timedelta
from ipaddress import ip_address
from random import Random
from typing import Any

import pytest

from tests.contract.assertions import ACTION_VERBS, assert_failed_build
from tests.contract.cloud_under_test import CloudUnderTest
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


class CreateSuite:
    """Tests of successful, refused and failed creates."""

    def test_created_vm_has_the_requested_properties(self, cloud: CloudUnderTest) -> None:
        spec = cloud.build_spec(
            metadata={"env": "test", "vmapi.own": "hidden"}, user_data=b"#cloud-config\n{}\n"
        )
        action = cloud.create_vm(spec)
        assert action.request_id
        for vm in (cloud.backend.get_vm(action.vm_id), cloud.wait_until_settled(action.vm_id)):
            assert (vm.id, vm.name) == (action.vm_id, spec.name)
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

    def test_created_vm_is_found_by_operation_id(self, cloud: CloudUnderTest) -> None:
        operation_id = cloud.operation_id("operation")
        assert cloud.backend.find_created_vm(operation_id) is None
        action = cloud.create_vm(cloud.build_spec(network_id=None))
        found_action = cloud.backend.find_created_vm(operation_id)
        assert found_action is not None
        assert found_action.vm_id == action.vm_id
        vm = cloud.wait_until_settled(action.vm_id)
        assert vm.status is Status.RUNNING
        found_action = cloud.backend.find_created_vm(operation_id)
        assert found_action is not None
        assert found_action.vm_id == vm.id
        assert cloud.backend.find_created_vm(cloud.operation_id("another")) is None
        cloud.delete_vm(vm.id)
        assert cloud.backend.find_created_vm(operation_id) is None

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
    def test_create_with_unknown_resource_is_refused(
        self, cloud: CloudUnderTest, member: str, error: type[Exception]
    ) -> None:
        unknown = cloud.unknown_id()
        invalid_member: dict[str, Any] = {
            member: (unknown,) if member == "security_groups" else unknown
        }
        spec = cloud.build_spec(**invalid_member)
        with pytest.raises(error) as caught:
            cloud.create_vm(spec)
        assert caught.type is error
        assert not cloud.backend.list_vms(name=spec.name)

    def test_too_long_user_data_is_refused(self, cloud: CloudUnderTest) -> None:
        incompressible = Random(0).randbytes(49_150)
        with pytest.raises(ValidationFailed):
            cloud.create_vm(cloud.build_spec(user_data=incompressible))

    def test_vm_in_build_allows_only_delete(self, cloud: CloudUnderTest) -> None:
        if cloud.slow_build is None:
            pytest.skip("a build may finish before a read")
        action = cloud.create_vm(cloud.slow_build(cloud.build_spec()))
        vm = cloud.backend.get_vm(action.vm_id)
        assert (vm.status, vm.task, vm.backend_status) == (Status.BUILDING, Task.CREATING, "BUILD")
        for verb in ACTION_VERBS:
            with pytest.raises(InvalidState):
                cloud.backend.perform_action(vm.id, verb)
        with pytest.raises(InvalidState):
            cloud.backend.update_vm(vm.id, VMPatch(metadata={"env": "test"}))
        assert vm.id in {other.id for other in cloud.backend.list_vms(name=vm.name)}
        cloud.delete_vm(vm.id)

    def test_failed_build_has_a_fault(self, cloud: CloudUnderTest) -> None:
        if cloud.failing_build is None:
            pytest.skip("this cloud has no failing build")
        vm = cloud.wait_until_settled(
            cloud.create_vm(cloud.failing_build(cloud.build_spec())).vm_id
        )
        assert_failed_build(cloud, vm, "build_failed")

    def test_build_without_host_has_a_fault(self, cloud: CloudUnderTest) -> None:
        if cloud.no_host_build is None:
            pytest.skip("this cloud has no build without a host")
        vm = cloud.wait_until_settled(
            cloud.create_vm(cloud.no_host_build(cloud.build_spec())).vm_id
        )
        assert_failed_build(cloud, vm, "no_capacity")
