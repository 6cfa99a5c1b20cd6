"""Operations that are saved together with an observation of their VM."""

from dataclasses import dataclass, replace
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from tests.support.factories import T0
from tests.support.operation_factory import OperationFactory
from tests.support.stored_vm import RUNNING, STOPPED, VM_ID, get_snapshot, status_and_task
from vmapi.domain.lifecycle import Action, Status, Task
from vmapi.domain.observation import Observation
from vmapi.domain.operation import Operation
from vmapi.domain.vm import VM
from vmapi.store.database import Database
from vmapi.store.events import EventLog
from vmapi.store.inventory.repository import InventoryRepository
from vmapi.store.operations.repository import OperationRepository
from vmapi.store.operations.saving import SavedOperation

UNSTORABLE = replace(STOPPED, name="\ud800")


@dataclass(frozen=True)
class StopHarness:
    """A running VM with an unfinished stop."""

    database: Database
    store: OperationRepository
    inventory: InventoryRepository
    make: OperationFactory
    stop: Operation

    def observe(self, *vms: VM) -> Observation:
        """Return an observation that starts now."""
        return Observation(self.inventory.observation_time(), vms)

    def finish(self, observation: Observation) -> SavedOperation:
        """Save that the stop has succeeded."""
        return self.store.save(self.make.finished(self.store.get(self.stop.id)), observation)

    def list_event_kinds(self) -> list[str]:
        log = EventLog(self.database)
        log.assign_sequences()
        return [str(event.kind) for event in log.read_after(0)]


@pytest.fixture
def harness(database: Database, store: OperationRepository, make: OperationFactory) -> StopHarness:
    inventory = InventoryRepository(database)
    inventory.save_observations([RUNNING], inventory.observation_time())
    store.add(make("1"))
    return StopHarness(database, store, inventory, make, store.get("1"))


def test_finished_operation_is_saved_with_its_vm(harness: StopHarness) -> None:
    saved = harness.finish(harness.observe(STOPPED))
    assert saved.operation == harness.store.get("1")
    assert saved.has_saved_observation
    assert saved.vm is not None
    stored = get_snapshot(harness.inventory)
    assert (saved.vm.vm, saved.vm.revision) == (stored.vm, stored.revision)
    assert stored.vm == STOPPED
    # neither a stopped VM with a task nor a running one without is ever visible
    assert harness.list_event_kinds() == [
        *("vm.created", "vm.changed", "vm.changed", "operation.succeeded")
    ]


def test_unfinished_operation_keeps_its_task_on_the_observed_vm(harness: StopHarness) -> None:
    observation = harness.observe(replace(RUNNING, name="renamed"))
    saved = harness.store.save(harness.stop.as_dispatching(T0), observation)
    assert saved.vm is not None
    assert (saved.vm.vm.name, saved.vm.vm.task) == ("renamed", Task.STOPPING)
    assert saved.vm.vm == get_snapshot(harness.inventory).vm


def test_observations_that_started_before_the_save_are_ignored(harness: StopHarness) -> None:
    earlier = harness.inventory.observation_time()
    harness.finish(harness.observe(STOPPED))
    newer_state = replace(RUNNING, updated_at=RUNNING.updated_at + timedelta(days=1))
    assert harness.inventory.save_observations([newer_state], earlier) == set()
    assert status_and_task(harness.inventory) == (Status.STOPPED, None)


def test_older_observation_is_ignored_and_the_operation_saved(harness: StopHarness) -> None:
    older = harness.observe(RUNNING)
    later = harness.observe(STOPPED)
    harness.inventory.save_observations(later.vms, later.started_at)
    harness.store.save(harness.stop.as_dispatching(T0))
    saved = harness.finish(older)
    assert (saved.vm, saved.has_saved_observation) == (None, False)
    assert status_and_task(harness.inventory) == (Status.STOPPED, None)


def test_finished_delete_is_saved_with_its_missing_vm(harness: StopHarness) -> None:
    harness.store.add(harness.make("2", Action.DELETE))
    gone = Observation(harness.inventory.observation_time(), gone_vm_id=VM_ID)
    saved = harness.store.save(harness.make.finished(harness.store.get("2")), gone)
    assert (saved.vm, saved.has_saved_observation) == (None, True)
    assert harness.inventory.get(VM_ID) is None
    assert harness.list_event_kinds()[-2:] == ["vm.deleted", "operation.succeeded"]


@pytest.mark.parametrize("vms", [(UNSTORABLE,), (STOPPED, replace(UNSTORABLE, id="vm-2"))])
def test_unstorable_vm_does_not_prevent_the_save(harness: StopHarness, vms: tuple[VM, ...]) -> None:
    with capture_logs() as logs:
        saved = harness.finish(harness.observe(*vms))
    assert [line["event"] for line in logs] == ["observation cannot be stored"]
    assert harness.store.get("1").is_finished
    assert not saved.has_saved_observation
    assert status_and_task(harness.inventory) == (Status.RUNNING, None)
