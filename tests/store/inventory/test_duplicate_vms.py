"""Duplicate VM tests: extra VMs of a create are found, lost VMs adopted."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.factories import VM_1
from tests.support.fake_clock import Clock
from tests.support.operation_factory import IDEMPOTENCY_KEY, OperationFactory
from vmapi.domain.lifecycle import Action, Status
from vmapi.domain.operation import Operation, OperationError, OperationStatus
from vmapi.domain.vm import VM
from vmapi.errors import BackendTimeout, OperationTimeout
from vmapi.store.database import Database
from vmapi.store.inventory.duplicates import DuplicateVM
from vmapi.store.inventory.repository import InventoryRepository
from vmapi.store.operations.repository import OperationRepository

HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)
MADE = replace(VM_1, operation_id="op", project="web")
FOUND = [DuplicateVM("b", "web-b", "op", "web")]


@pytest.fixture
def inventory(database: Database) -> InventoryRepository:
    return InventoryRepository(database)


@pytest.fixture
def created(store: OperationRepository, make: OperationFactory) -> Operation:
    store.add(make("op", Action.CREATE, None, "web", project="web"))
    return store.save(make.finished(store.get("op"), vm_id="a"))


@pytest.fixture
def timed_out(store: OperationRepository, make: OperationFactory) -> Operation:
    """A create that timed out with an unknown outcome."""
    store.add(make("op", Action.CREATE, None, "web", project="web", key=IDEMPOTENCY_KEY))
    failure = OperationError(OperationTimeout.code, "It did not end.", {})
    return store.save(make.finished(store.get("op"), status=OperationStatus.FAILED, error=failure))


def see(
    inventory: InventoryRepository, clock: Clock, *ids: str, later: timedelta = SECOND
) -> list[VM]:
    when = clock() + later
    seen = [
        replace(
            VM_1,
            id=each,
            name=f"web-{each}",
            operation_id="op",
            project="web",
            created_at=when,
        )
        for each in ids
    ]
    inventory.save_observations(seen, inventory.observation_time())
    return seen


def test_second_vm_of_a_create_is_a_duplicate(
    inventory: InventoryRepository, created: Operation, clock: Clock
) -> None:
    _, double = see(inventory, clock, "a", "b")
    assert inventory.list_duplicates() == FOUND
    # a deleted one has lost its mark, but is remembered
    gone = replace(double, status=Status.DELETED, operation_id=None)
    inventory.save_observations([gone], inventory.observation_time())
    assert inventory.list_duplicates() == []
    assert inventory.find_created_by("op") in ("a", "b")


def test_vm_of_a_failed_create_is_a_duplicate(
    inventory: InventoryRepository, store: OperationRepository, make: OperationFactory, clock: Clock
) -> None:
    store.add(make("op", Action.CREATE, None, "web", project="web"))
    see(inventory, clock, "b")
    # while it is not known what became of it, it may be the one
    assert inventory.list_duplicates() == []
    failure = OperationError(BackendTimeout.code, "It never reached the cloud.", {})
    store.save(make.finished(store.get("op"), status=OperationStatus.FAILED, error=failure))
    assert inventory.list_duplicates() == FOUND


@pytest.mark.usefixtures("created")
def test_much_later_vm_with_the_tag_is_no_duplicate(
    inventory: InventoryRepository, clock: Clock
) -> None:
    see(inventory, clock, "b", later=2 * HOUR)
    assert inventory.list_duplicates() == []


@pytest.mark.usefixtures("created")
def test_tag_of_another_installation_is_ignored(
    inventory: InventoryRepository, clock: Clock
) -> None:
    vm = replace(VM_1, id="b", operation_id="another", created_at=clock())
    inventory.save_observations([vm], inventory.observation_time())
    assert inventory.list_duplicates() == []
    assert inventory.find_created_by("op") is None


def test_failed_delete_of_a_duplicate_is_repeated_later(
    inventory: InventoryRepository, store: OperationRepository, make: OperationFactory, clock: Clock
) -> None:
    clock.now = datetime.now(UTC) - 2 * HOUR
    store.add(make("op", Action.CREATE, None, "web", project="web"))
    store.save(make.finished(store.get("op"), vm_id="a"))
    see(inventory, clock, "b")
    for begun, found in ((clock(), FOUND), (clock() + 2 * HOUR, [])):
        clock.now = begun
        store.add(make(str(begun), Action.DELETE, "b"))
        store.save(make.finished(store.get(str(begun)), status=OperationStatus.FAILED))
        assert inventory.list_duplicates() == found


def test_tagged_vm_of_another_project_is_no_duplicate(
    inventory: InventoryRepository, created: Operation, clock: Clock
) -> None:
    copied = replace(MADE, id="c", project="db", created_at=clock() + SECOND)
    inventory.save_observations(
        [copied, replace(copied, id="d", project=None)], inventory.observation_time()
    )
    assert created.vm_id == "a"
    assert inventory.list_duplicates() == []


def test_timed_out_create_adopts_its_tagged_vm(
    inventory: InventoryRepository, store: OperationRepository, timed_out: Operation, clock: Clock
) -> None:
    assert inventory.list_duplicates() == []
    assert store.get("op") == timed_out
    see(inventory, clock, "a")
    assert inventory.list_duplicates() == []
    adopted = replace(timed_out, vm_id="a", revision=timed_out.revision + 1)
    assert store.find_by_key(IDEMPOTENCY_KEY) == store.get("op") == adopted
    assert inventory.list_duplicates() == []
    assert store.get("op") == adopted


def test_timed_out_create_adopts_the_first_of_two_vms(
    inventory: InventoryRepository, store: OperationRepository, timed_out: Operation, clock: Clock
) -> None:
    see(inventory, clock, "a", later=2 * SECOND)
    see(inventory, clock, "c")
    assert inventory.list_duplicates() == [DuplicateVM("a", "web-a", "op", "web")]
    assert store.get("op") == replace(timed_out, vm_id="c", revision=timed_out.revision + 1)


@pytest.mark.parametrize(
    "fields",
    [
        {"project": "db"},
        {"project": None},
        {"operation_id": "another"},
        {"status": Status.DELETED},
        {"created_at": datetime.now(UTC) + 2 * HOUR},
    ],
)
def test_timed_out_create_adopts_no_foreign_vm(
    inventory: InventoryRepository,
    store: OperationRepository,
    timed_out: Operation,
    clock: Clock,
    fields: dict[str, Any],
) -> None:
    vm = replace(MADE, id="a", created_at=clock() + SECOND)
    inventory.save_observations([replace(vm, **fields)], inventory.observation_time())
    assert inventory.list_duplicates() == []
    assert store.get("op") == timed_out
