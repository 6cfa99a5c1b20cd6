"""A VM that was just ordered, in lists: its place is the cloud's from the first."""

from datetime import timedelta

import pytest

from tests.api.test_freshness import Remote, sync
from tests.contract.clock import Clock
from tests.world import World
from vmapi.models.vm import VM


class Behind(Remote):
    """A cloud far away, whose clock is behind ours and counts whole seconds."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(
            clock=lambda: (clock() - timedelta(seconds=5)).replace(microsecond=0),
            sleep=clock.sleep,
        )
        self.dark = False

    def get(self, vm_id: str) -> VM:
        """Return a VM, unless it is dark."""
        if self.dark:
            self.set_faults("unavailable=1")
        return super().get(vm_id)


@pytest.fixture
def backend(clock: Clock) -> Behind:
    return Behind(clock)


def test_it_has_its_place_at_once(world: World) -> None:
    sync(world)
    world.clock.sleep(0.7)
    made = world.create()
    (listed,) = world.get("/vms")["items"]
    assert listed == made
    assert (made["status"], made["task"]) == ("BUILDING", "creating")
    world.settle()
    (settled,) = world.get("/vms")["items"]
    assert settled["created_at"] == made["created_at"] == "2026-02-25T10:29:55Z"


def test_it_is_listed_when_it_cannot_be_looked_at(world: World) -> None:
    sync(world)
    assert isinstance(world.backend, Behind)
    world.backend.dark = True
    made = world.create()
    assert made["created_at"] == "2026-02-25T10:30:00Z"
    assert world.get("/vms")["items"] == [made]
    world.backend.dark = False
    world.settle()
    (settled,) = world.get("/vms")["items"]
    assert (settled["id"], settled["created_at"]) == (made["id"], "2026-02-25T10:29:55Z")
