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
TAGGED_VM = replace(VM_1, operation_id="op", project="web")
DUPLICATES = [DuplicateVM("b", "web-b", "op", "web")]


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


def observe_tagged(
    inventory: InventoryRepository, clock: Clock, *ids: str, delay: timedelta = SECOND
) -> list[VM]:
    created_at = clock() + delay
    observed_vms = [
        replace(
            VM_1,
            id=vm_id,
            name=f"web-{vm_id}",
            operation_id="op",
            project="web",
            created_at=created_at,
        )
        for vm_id in ids
    ]
    inventory.save_observations(observed_vms, inventory.observation_time())
    return observed_vms


def test_second_vm_of_a_create_is_a_duplicate(
    inventory: InventoryRepository, created: Operation, clock: Clock
) -> None:
    _, duplicate = observe_tagged(inventory, clock, "a", "b")
    assert inventory.list_duplicates() == DUPLICATES
    # a deleted VM has lost its tag; the inventory still has the create of it
    deleted = replace(duplicate, status=Status.DELETED, operation_id=None)
    inventory.save_observations([deleted], inventory.observation_time())
    assert inventory.list_duplicates() == []
    assert inventory.find_created_by("op") in ("a", "b")


def test_vm_of_a_failed_create_is_a_duplicate(
    inventory: InventoryRepository, store: OperationRepository, make: OperationFactory, clock: Clock
) -> None:
    store.add(make("op", Action.CREATE, None, "web", project="web"))
    observe_tagged(inventory, clock, "b")
    # while the outcome is unknown, it may be the VM of the create
    assert inventory.list_duplicates() == []
    failure = OperationError(BackendTimeout.code, "It never reached the cloud.", {})
    store.save(make.finished(store.get("op"), status=OperationStatus.FAILED, error=failure))
    assert inventory.list_duplicates() == DUPLICATES


@pytest.mark.usefixtures("created")
def test_much_later_vm_with_the_tag_is_no_duplicate(
    inventory: InventoryRepository, clock: Clock
) -> None:
    observe_tagged(inventory, clock, "b", delay=2 * HOUR)
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
    observe_tagged(inventory, clock, "b")
    for attempted_at, expected in ((clock(), DUPLICATES), (clock() + 2 * HOUR, [])):
        clock.now = attempted_at
        store.add(make(str(attempted_at), Action.DELETE, "b"))
        store.save(make.finished(store.get(str(attempted_at)), status=OperationStatus.FAILED))
        assert inventory.list_duplicates() == expected


def test_tagged_vm_of_another_project_is_no_duplicate(
    inventory: InventoryRepository, created: Operation, clock: Clock
) -> None:
    foreign_vm = replace(TAGGED_VM, id="c", project="db", created_at=clock() + SECOND)
    inventory.save_observations(
        [foreign_vm, replace(foreign_vm, id="d", project=None)], inventory.observation_time()
    )
    assert created.vm_id == "a"
    assert inventory.list_duplicates() == []


def test_timed_out_create_adopts_its_tagged_vm(
    inventory: InventoryRepository, store: OperationRepository, timed_out: Operation, clock: Clock
) -> None:
    assert inventory.list_duplicates() == []
    assert store.get("op") == timed_out
    observe_tagged(inventory, clock, "a")
    assert inventory.list_duplicates() == []
    adopted = replace(timed_out, vm_id="a", revision=timed_out.revision + 1)
    assert store.find_by_key(IDEMPOTENCY_KEY) == store.get("op") == adopted
    assert inventory.list_duplicates() == []
    assert store.get("op") == adopted


def test_timed_out_create_adopts_the_first_of_two_vms(
    inventory: InventoryRepository, store: OperationRepository, timed_out: Operation, clock: Clock
) -> None:
    observe_tagged(inventory, clock, "a", delay=2 * SECOND)
    observe_tagged(inventory, clock, "c")
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
    vm = replace(TAGGED_VM, id="a", created_at=clock() + SECOND)
    inventory.save_observations([replace(vm, **fields)], inventory.observation_time())
    assert inventory.list_duplicates() == []
    assert store.get("op") == timed_out
