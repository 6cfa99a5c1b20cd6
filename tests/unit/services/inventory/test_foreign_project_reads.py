"""Reads of a VM of another project: the same calls and errors as for an unknown VM."""

from collections.abc import Iterator

import pytest

from tests.support.api_harness import UNKNOWN_ID
from tests.support.fake_clock import Clock
from vmapi.backends.memory.driver import MemoryBackend
from vmapi.bootstrap import bootstrap
from vmapi.domain.access.caller import Caller
from vmapi.domain.vm import VM, CreateRequest
from vmapi.errors import BackendUnavailable, VMNotFound
from vmapi.services.container import Services
from vmapi.settings.settings import Settings


class CountingBackend(MemoryBackend):
    """A memory cloud with operations that take time; it records the reads of single VMs."""

    completes_immediately = False
    has_change_feed = False

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock=clock, sleep=clock.sleep)
        self.fetched_ids: list[str] = []
        self.found_ids: list[str] = []

    def get_vm(self, vm_id: str) -> VM:
        self.fetched_ids.append(vm_id)
        vm = super().get_vm(vm_id)
        self.found_ids.append(vm_id)
        return vm


@pytest.fixture
def cloud(clock: Clock) -> CountingBackend:
    return CountingBackend(clock)


@pytest.fixture
def services(cloud: CountingBackend, clock: Clock) -> Iterator[Services]:
    services = bootstrap(Settings(), cloud, clock)
    services.engine.stop()
    services.backend.breaker.stop_probing()
    yield services
    services.store.close()


@pytest.fixture
def foreign_id(services: Services, cloud: CountingBackend) -> str:
    """The id of a VM of another project; the inventory has it."""
    request = CreateRequest("web-1", "m1.tiny", "cirros", start=True)
    snapshot = services.vms.create(request, Caller("them", "r", project="other")).snapshot
    assert snapshot is not None
    assert services.vms.get(snapshot.vm.id, "other").vm.project == "other"
    cloud.fetched_ids.clear()
    cloud.found_ids.clear()
    return snapshot.vm.id


def test_read_of_a_foreign_vm_costs_the_same_as_of_an_unknown_one(
    services: Services, cloud: CountingBackend, foreign_id: str
) -> None:
    errors = []
    for vm_id in (foreign_id, UNKNOWN_ID):
        for refresh in (False, True):
            with pytest.raises(VMNotFound) as caught:
                services.vms.get(vm_id, "default", refresh=refresh)
            errors.append((caught.value.detail, caught.value.extra))
        with pytest.raises(VMNotFound) as caught:
            services.vms.get_console(vm_id, "default", None)
        errors.append((caught.value.detail, caught.value.extra))
    assert errors == [("There is no VM of this id.", {})] * 6
    # the cloud takes longer to return a VM than to find none
    assert cloud.found_ids == []
    assert len(cloud.fetched_ids) == 6
    assert foreign_id not in cloud.fetched_ids
    assert cloud.fetched_ids[3:] == [UNKNOWN_ID] * 3


def test_read_of_a_foreign_vm_fails_as_of_an_unknown_one_when_the_cloud_is_unavailable(
    services: Services, cloud: CountingBackend, foreign_id: str
) -> None:
    cloud.set_faults("unavailable=100%")
    assert services.vms.get(foreign_id, "other").vm.name == "web-1"
    details = []
    for vm_id in (foreign_id, UNKNOWN_ID):
        with pytest.raises(BackendUnavailable) as caught:
            services.vms.get(vm_id, "default")
        details.append(caught.value.detail)
    assert details[0] == details[1]


def test_vm_being_created_belongs_to_the_project_of_the_caller(
    services: Services, cloud: CountingBackend
) -> None:
    request = CreateRequest("web-1", "m1.tiny", "cirros")
    result = services.vms.create(request, Caller("me", "r", project="mine"))
    assert not result.operation.is_finished
    snapshot = services.store.inventory.get(result.operation.vm_id or "")
    assert snapshot is not None
    assert (snapshot.vm.project, snapshot.vm.vcpus, snapshot.vm.ram_mb) == ("mine", 1, 512)
