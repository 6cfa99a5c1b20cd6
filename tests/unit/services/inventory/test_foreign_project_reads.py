"""What a read of another project's VM costs and says, on a cloud that is not asked each time."""

from collections.abc import Iterator

import pytest

from tests.support.api_harness import UNKNOWN_ID
from tests.support.fake_clock import Clock
from vmapi.backends.memory.driver import MemoryBackend
from vmapi.bootstrap import bootstrap
from vmapi.domain.caller import Caller
from vmapi.domain.vm import VM, CreateRequest
from vmapi.errors import BackendUnavailable, VMNotFound
from vmapi.services.container import Services
from vmapi.settings.settings import Settings


class Distant(MemoryBackend):
    """A cloud that is asked as little as may be, and counts how often."""

    completes_immediately = False

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock=clock, sleep=clock.sleep)
        self.asked: list[str] = []

    def get_vm(self, vm_id: str) -> VM:
        self.asked.append(vm_id)
        return super().get_vm(vm_id)


@pytest.fixture
def cloud(clock: Clock) -> Distant:
    return Distant(clock)


@pytest.fixture
def services(cloud: Distant, clock: Clock) -> Iterator[Services]:
    services = bootstrap(Settings(), cloud, clock)
    services.engine.stop()
    services.backend.breaker.stop_probing()
    yield services
    services.store.close()


@pytest.fixture
def foreign(services: Services, cloud: Distant) -> str:
    """The id of a VM of another project, that is known."""
    wanted = CreateRequest("web-1", "m1.tiny", "cirros", start=True)
    made = services.vms.create(wanted, Caller("them", "r", project="other")).snapshot
    assert made is not None
    assert services.vms.get(made.vm.id, "other").vm.project == "other"
    cloud.asked.clear()
    return made.vm.id


def test_the_cloud_is_asked_for_a_foreign_vm_as_for_an_unknown_one(
    services: Services, cloud: Distant, foreign: str
) -> None:
    said = []
    for vm_id in (foreign, UNKNOWN_ID):
        for fresh in (False, True):
            with pytest.raises(VMNotFound) as caught:
                services.vms.get(vm_id, "default", refresh=fresh)
            said.append((caught.value.detail, caught.value.extra))
        with pytest.raises(VMNotFound) as caught:
            services.vms.get_console(vm_id, "default", None)
        said.append((caught.value.detail, caught.value.extra))
    assert said == [("There is no VM of this id.", {})] * 6
    assert cloud.asked == [foreign] * 3 + [UNKNOWN_ID] * 3


def test_while_the_cloud_is_away_a_foreign_vm_is_as_unknown(
    services: Services, cloud: Distant, foreign: str
) -> None:
    cloud.set_faults("unavailable=100%")
    assert services.vms.get(foreign, "other").vm.name == "web-1"
    said = []
    for vm_id in (foreign, UNKNOWN_ID):
        with pytest.raises(BackendUnavailable) as caught:
            services.vms.get(vm_id, "default")
        said.append(caught.value.detail)
    assert said[0] == said[1]


def test_a_vm_that_is_being_made_is_its_projects(services: Services, cloud: Distant) -> None:
    wanted = CreateRequest("web-1", "m1.tiny", "cirros")
    made = services.vms.create(wanted, Caller("me", "r", project="mine"))
    assert not made.operation.is_finished
    known = services.store.inventory.get(made.operation.vm_id or "")
    assert known is not None
    assert (known.vm.project, known.vm.vcpus, known.vm.ram_mb) == ("mine", 1, 512)
