"""Revision tests: an operation requires the revision that its client has read."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.audit_chain import list_outcomes
from tests.support.factories import T0, VM_1
from tests.support.fake_clock import Clock
from tests.support.operation_factory import (
    ALL_OPERATIONS,
    OperationFactory,
    run_concurrently,
    succeeds,
)
from vmapi.domain.lifecycle import Action, Status, Task
from vmapi.domain.pagination import PageRequest
from vmapi.domain.snapshot import VMSnapshot
from vmapi.domain.vm import VM
from vmapi.errors import TaskInProgress
from vmapi.store.conflicts import OperationRevisionConflict, VMRevisionConflict
from vmapi.store.database import Database
from vmapi.store.inventory.repository import InventoryRepository
from vmapi.store.operations import name_reservations, statements
from vmapi.store.operations.repository import OperationRepository
from vmapi.store.tables import operations, vms

OBSERVED_VM = replace(VM_1, id="vm")
ROUNDS = 20


@pytest.fixture
def inventory(database: Database) -> InventoryRepository:
    return InventoryRepository(database)


@pytest.fixture
def stores(connect: Callable[[], Database], clock: Clock) -> Iterator[list[OperationRepository]]:
    """The stores of four processes."""
    stores = [OperationRepository(connect(), clock) for _ in range(4)]
    yield stores
    for store in stores:
        store.close()


def observe(inventory: InventoryRepository, vm: VM = OBSERVED_VM) -> VMSnapshot:
    inventory.save_observations([vm], inventory.observation_time())
    snapshot = inventory.get(vm.id)
    assert snapshot is not None
    return snapshot


@pytest.mark.parametrize("action", [Action.STOP, Action.DELETE, Action.UPDATE])
def test_required_revision_must_match(
    inventory: InventoryRepository,
    store: OperationRepository,
    make: OperationFactory,
    database: Database,
    action: Action,
) -> None:
    old = observe(inventory).revision
    new = observe(inventory, replace(OBSERVED_VM, name="other")).revision
    name = "web" if action is Action.UPDATE else None
    with pytest.raises(VMRevisionConflict):
        store.add(make("1", action, name=name), old)
    assert store.list_page(ALL_OPERATIONS, PageRequest()).total == 0
    assert list_outcomes(database) == []
    store.add(make("2", action, name=name), new)
    assert [operation.id for operation in store.list_leased()] == ["2"]


def test_required_revision_of_a_deleted_vm_never_matches(
    inventory: InventoryRepository, store: OperationRepository, make: OperationFactory
) -> None:
    revision = observe(inventory).revision
    inventory.mark_deleted(OBSERVED_VM.id, T0, inventory.observation_time())
    for vm_id in (OBSERVED_VM.id, "unknown"):
        with pytest.raises(VMRevisionConflict):
            store.add(make("1", vm_id=vm_id), revision)


def test_delete_of_a_busy_vm_accepts_its_current_revision(
    inventory: InventoryRepository, store: OperationRepository, make: OperationFactory
) -> None:
    observe(inventory)
    store.add(make("1"))
    busy = inventory.get(OBSERVED_VM.id)
    assert busy is not None
    store.add(make("2", Action.DELETE), busy.revision)
    assert [operation.id for operation in store.list_leased()] == ["2"]
    store.add(make("3", Action.DELETE, vm_id="vm"))


@pytest.mark.parametrize(
    "actions",
    [
        (Action.STOP,) * 4,
        (Action.DELETE,) * 4,
        (Action.UPDATE, Action.UPDATE, Action.DELETE, Action.PAUSE),
    ],
)
def test_one_of_many_operations_with_the_same_revision_is_admitted(
    inventory: InventoryRepository,
    stores: list[OperationRepository],
    make: OperationFactory,
    actions: tuple[Action, ...],
) -> None:
    for round in range(ROUNDS):
        vm_id = f"vm-{round}"
        revision = observe(inventory, replace(OBSERVED_VM, id=vm_id)).revision

        def add(index: int, round: int = round, revision: int | None = revision) -> bool:
            name = f"{round}-{index}" if actions[index] is Action.UPDATE else None
            new = make(f"{round}-{index}", actions[index], f"vm-{round}", name)
            return succeeds(lambda: stores[index].add(new, revision), VMRevisionConflict)

        assert run_concurrently(4, add) == 1


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
@pytest.mark.parametrize(
    "case",
    [(Action.UPDATE, name_reservations, "reserve"), (Action.DELETE, statements, "fetch_all")],
)
def test_observation_during_the_insert_is_waited_for(
    inventory: InventoryRepository,
    store: OperationRepository,
    make: OperationFactory,
    monkeypatch: pytest.MonkeyPatch,
    case: tuple[Action, Any, str],
) -> None:
    """SQLite has one writer at a time."""
    action, module, step = case
    revision = observe(inventory).revision
    original = getattr(module, step)

    def call_and_observe(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        observe(inventory, replace(OBSERVED_VM, name="other"))
        return result

    monkeypatch.setattr(module, step, call_and_observe)
    with pytest.raises(VMRevisionConflict):
        store.add(make("1", action), revision)
    monkeypatch.undo()
    assert store.list_page(ALL_OPERATIONS, PageRequest()).total == 0


def test_private_fields_do_not_change_the_entity_tag(
    inventory: InventoryRepository, store: OperationRepository, make: OperationFactory
) -> None:
    observe(inventory)
    store.add(make("1"))
    busy = inventory.get(OBSERVED_VM.id)
    assert busy is not None
    for vm in (
        replace(OBSERVED_VM, task=Task.STOPPING),
        replace(OBSERVED_VM, launched=False),
        replace(OBSERVED_VM, operation_id="1"),
    ):
        assert observe(inventory, vm).etag == busy.etag
    store.add(make("2", Action.DELETE))
    first = inventory.get(OBSERVED_VM.id)
    store.add(make("3", Action.DELETE))
    second = inventory.get(OBSERVED_VM.id)
    assert first is not None
    assert second is not None
    assert first.etag == second.etag != busy.etag


def test_reinserted_vm_has_another_entity_tag(inventory: InventoryRepository) -> None:
    first = observe(inventory)
    inventory.mark_deleted(OBSERVED_VM.id, T0, inventory.observation_time())
    assert inventory.purge_deleted(T0.replace(year=3000)) == 1
    again = observe(inventory, replace(OBSERVED_VM, name="other"))
    assert again.revision == first.revision
    assert again.etag != first.etag


observation_choices = st.builds(
    lambda **drawn: replace(OBSERVED_VM, **drawn),
    status=st.sampled_from([Status.RUNNING, Status.STOPPED, Status.ERROR]),
    task=st.sampled_from([None, Task.STOPPING, Task.OTHER]),
    launched=st.booleans(),
    locked=st.booleans(),
    metadata=st.sampled_from([{}, {"a": "b"}]),
)
action_choices = st.sampled_from([Action.STOP, Action.PAUSE, Action.DELETE])
EXAMPLES = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@EXAMPLES
@given(
    drawn=st.lists(st.one_of(observation_choices, action_choices, st.just("finish")), max_size=12)
)
def test_entity_tag_changes_exactly_with_the_public_fields(
    database: Database, clock: Clock, drawn: list[object]
) -> None:
    with database.write() as connection:
        connection.execute(vms.delete())
        connection.execute(operations.delete())
    inventory, store, make = (
        InventoryRepository(database),
        OperationRepository(database, clock),
        OperationFactory(clock),
    )
    before = observe(inventory)
    for number, drawn_event in enumerate(drawn):
        clock.sleep(1)
        if isinstance(drawn_event, VM):
            inventory.save_observations([drawn_event], inventory.observation_time())
        elif isinstance(drawn_event, Action):
            add = partial(store.add, make(f"{number}", drawn_event))
            succeeds(add, TaskInProgress)
        else:
            for operation in store.list_leased():
                save = partial(store.save, make.finished(operation))
                succeeds(save, OperationRevisionConflict)
        after = inventory.get(OBSERVED_VM.id)
        assert after is not None
        same = after.vm.public_fields == before.vm.public_fields
        assert (after.revision == before.revision, after.etag == before.etag) == (same, same)
        before = after
    store.close()
