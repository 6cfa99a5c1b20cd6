"""Duplicate VM tests: extra VMs of a create are found, lost VMs adopted."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.factories import VM_1
from tests.support.fake_clock import Clock
from tests.support.operation_factory import IDEMPOTENCY_KEY, OperationFactory
from vmapi.domain.lifecycle import Action, Status, Verb
from vmapi.domain.operation import (
    CreateOrder,
    CreateWindow,
    Operation,
    OperationError,
    OperationStatus,
    Step,
    StepState,
)
from vmapi.domain.vm import VM
from vmapi.errors import BackendError, BackendTimeout, BackendUnavailable, OperationTimeout
from vmapi.store.database import Database
from vmapi.store.inventory.duplicates import DuplicateVM
from vmapi.store.inventory.repository import InventoryRepository
from vmapi.store.operations.repository import OperationRepository

HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)
WINDOW = CreateWindow(timedelta(seconds=150))
TAGGED_VM = replace(VM_1, name="web", operation_id="op", project="web", vcpus=1, ram_mb=512)
ORDER = CreateOrder(TAGGED_VM.flavor, str(TAGGED_VM.image), "image-id")
DUPLICATES = [DuplicateVM("b", "web", "op", "web")]
FOREIGN_FIELDS: list[dict[str, Any]] = [
    {"name": "web-2"},
    {"name": "WEB"},
    {"flavor": "m1.large"},
    {"flavor": ""},
    {"image": "debian"},
    {"image": None},
    {"project": "db"},
    {"project": None},
    {"vcpus": 2},
    {"operation_id": "another"},
    {"operation_id": None},
    {"status": Status.DELETED},
]


@pytest.fixture
def inventory(database: Database) -> InventoryRepository:
    return InventoryRepository(database)


@pytest.fixture
def add_create(
    store: OperationRepository, make: OperationFactory, clock: Clock
) -> Callable[..., Operation]:
    """Insert a dispatched create of the VM `web`, and finish it with these fields."""

    def add(**fields: Any) -> Operation:
        step = Step(Verb.CREATE, StepState.DISPATCHING, started_at=clock())
        sizes = {"vcpus": TAGGED_VM.vcpus, "ram_mb": TAGGED_VM.ram_mb}
        order = fields.pop("order", ORDER)
        create = make("op", Action.CREATE, None, "web", project="web", steps=(step,), **sizes)
        store.add(replace(create, key=fields.pop("key", None), order=order))
        if not fields:
            return store.get("op")
        return store.save(make.finished(store.get("op"), **fields)).operation

    return add


def failed(code: str) -> dict[str, Any]:
    """Return the fields of a failed create."""
    error = OperationError(code, "It failed.", {})
    return {"status": OperationStatus.FAILED, "error": error}


@pytest.fixture
def recovered(add_create: Callable[..., Operation]) -> Operation:
    """A create with a lost response: recovery has found its VM by the tag."""
    return add_create(vm_id="a", is_recovered=True)


@pytest.fixture
def timed_out(add_create: Callable[..., Operation]) -> Operation:
    """A create that timed out with an unknown outcome."""
    return add_create(key=IDEMPOTENCY_KEY, **failed(OperationTimeout.code))


def observe(
    inventory: InventoryRepository,
    clock: Clock,
    *ids: str,
    age: timedelta = SECOND,
    **fields: Any,
) -> list[VM]:
    """Save tagged VMs of the create that are made this long after its dispatch."""
    members = {"created_at": clock() + age, **fields}
    observed = [replace(TAGGED_VM, id=vm_id, **members) for vm_id in ids]
    inventory.save_observations(observed, inventory.observation_time())
    return observed


@pytest.mark.usefixtures("recovered")
def test_second_vm_of_a_lost_response_is_a_duplicate(
    inventory: InventoryRepository, clock: Clock
) -> None:
    _, duplicate = observe(inventory, clock, "a", "b")
    assert inventory.list_duplicates(WINDOW) == DUPLICATES
    # the cloud removes the tag of a deleted VM, the inventory keeps it
    deleted = replace(duplicate, status=Status.DELETED, operation_id=None)
    inventory.save_observations([deleted], inventory.observation_time())
    assert inventory.list_duplicates(WINDOW) == []
    assert inventory.find_created_by("op") in ("a", "b")


@pytest.mark.usefixtures("recovered")
def test_duplicate_with_the_id_of_its_image_is_found(
    inventory: InventoryRepository, clock: Clock
) -> None:
    observe(inventory, clock, "b", image=ORDER.image_id)
    assert inventory.list_duplicates(WINDOW) == DUPLICATES


@pytest.mark.usefixtures("recovered")
@pytest.mark.parametrize("fields", FOREIGN_FIELDS, ids=str)
def test_vm_with_a_copied_tag_is_no_duplicate_of_a_lost_response(
    inventory: InventoryRepository, clock: Clock, fields: dict[str, Any]
) -> None:
    observe(inventory, clock, "b", **fields)
    assert inventory.list_duplicates(WINDOW) == []


@pytest.mark.parametrize("fields", FOREIGN_FIELDS, ids=str)
def test_vm_with_a_copied_tag_is_no_duplicate_of_a_failed_create(
    inventory: InventoryRepository,
    add_create: Callable[..., Operation],
    clock: Clock,
    fields: dict[str, Any],
) -> None:
    add_create(**failed(BackendTimeout.code))
    observe(inventory, clock, "b", **fields)
    assert inventory.list_duplicates(WINDOW) == []


@pytest.mark.usefixtures("recovered")
@pytest.mark.parametrize(
    ("age", "is_duplicate"),
    [(-HOUR, False), (-2, False), (-1, True), (0, True), (150, True), (151, False), (HOUR, False)],
)
def test_duplicate_is_made_in_the_window_of_its_create(
    inventory: InventoryRepository, clock: Clock, age: Any, is_duplicate: bool
) -> None:
    age = age if isinstance(age, timedelta) else age * SECOND
    observe(inventory, clock, "b", age=age)
    assert inventory.list_duplicates(WINDOW) == (DUPLICATES if is_duplicate else [])


@pytest.mark.usefixtures("recovered")
def test_window_of_a_create_is_on_the_clock_of_the_cloud(
    inventory: InventoryRepository, clock: Clock
) -> None:
    observe(inventory, clock, "b", age=HOUR)
    assert inventory.list_duplicates(replace(WINDOW, clock_offset=HOUR)) == DUPLICATES
    assert inventory.list_duplicates(replace(WINDOW, clock_offset=-HOUR)) == []


@pytest.mark.parametrize(
    "fields",
    [
        {"vm_id": "a"},
        {"vm_id": "a", "status": OperationStatus.SUPERSEDED},
        {"vm_id": "a", **failed(OperationTimeout.code)},
        {"vm_id": "b", "is_recovered": True},
        {"vm_id": "a", "is_recovered": True, "order": None},
        failed(BackendError.code),
        failed(BackendUnavailable.code),
        {**failed(BackendTimeout.code), "order": None},
    ],
)
def test_create_with_a_response_or_without_an_order_has_no_duplicates(
    inventory: InventoryRepository,
    add_create: Callable[..., Operation],
    clock: Clock,
    fields: dict[str, Any],
) -> None:
    add_create(**fields)
    observe(inventory, clock, "b")
    assert inventory.list_duplicates(WINDOW) == []


def test_vm_of_a_create_that_was_not_found_is_a_duplicate(
    inventory: InventoryRepository,
    store: OperationRepository,
    make: OperationFactory,
    add_create: Callable[..., Operation],
    clock: Clock,
) -> None:
    unfinished = add_create()
    observe(inventory, clock, "b")
    # while the outcome is unknown, the VM may be the one of the create
    assert inventory.list_duplicates(WINDOW) == []
    store.save(make.finished(unfinished, **failed(BackendTimeout.code)))
    assert inventory.list_duplicates(WINDOW) == DUPLICATES


def test_vm_is_no_duplicate_after_another_request_for_its_name(
    inventory: InventoryRepository,
    store: OperationRepository,
    make: OperationFactory,
    add_create: Callable[..., Operation],
    clock: Clock,
) -> None:
    add_create(**failed(BackendTimeout.code))
    observe(inventory, clock, "b")
    store.add(make("again", Action.CREATE, None, "web", project="web"))
    assert inventory.list_duplicates(WINDOW) == []


@pytest.mark.usefixtures("recovered")
def test_tag_of_another_installation_is_ignored(
    inventory: InventoryRepository, clock: Clock
) -> None:
    observe(inventory, clock, "b", operation_id="another")
    assert inventory.list_duplicates(WINDOW) == []
    assert inventory.find_created_by("op") is None


def test_failed_delete_of_a_duplicate_is_repeated_later(
    inventory: InventoryRepository,
    store: OperationRepository,
    make: OperationFactory,
    add_create: Callable[..., Operation],
    clock: Clock,
) -> None:
    clock.now = datetime.now(UTC) - 2 * HOUR
    add_create(vm_id="a", is_recovered=True)
    observe(inventory, clock, "b")
    for deleted_at, duplicates in ((clock(), DUPLICATES), (clock() + 2 * HOUR, [])):
        clock.now = deleted_at
        store.add(make(str(deleted_at), Action.DELETE, "b"))
        store.save(make.finished(store.get(str(deleted_at)), status=OperationStatus.FAILED))
        assert inventory.list_duplicates(WINDOW) == duplicates


def test_timed_out_create_adopts_its_tagged_vm(
    inventory: InventoryRepository, store: OperationRepository, timed_out: Operation, clock: Clock
) -> None:
    assert inventory.list_duplicates(WINDOW) == []
    assert store.get("op") == timed_out
    observe(inventory, clock, "a")
    assert inventory.list_duplicates(WINDOW) == []
    adopted = replace(timed_out, vm_id="a", is_recovered=True, revision=timed_out.revision + 1)
    assert store.find_by_key(IDEMPOTENCY_KEY) == store.get("op") == adopted
    assert inventory.list_duplicates(WINDOW) == []
    assert store.get("op") == adopted


def test_timed_out_create_adopts_the_first_of_two_vms(
    inventory: InventoryRepository, store: OperationRepository, timed_out: Operation, clock: Clock
) -> None:
    observe(inventory, clock, "b", age=2 * SECOND)
    observe(inventory, clock, "c")
    assert inventory.list_duplicates(WINDOW) == DUPLICATES
    adopted = replace(timed_out, vm_id="c", is_recovered=True, revision=timed_out.revision + 1)
    assert store.get("op") == adopted


@pytest.mark.parametrize("fields", [*FOREIGN_FIELDS, {"age": 2 * HOUR}, {"age": -HOUR}], ids=str)
def test_timed_out_create_adopts_no_foreign_vm(
    inventory: InventoryRepository,
    store: OperationRepository,
    timed_out: Operation,
    clock: Clock,
    fields: dict[str, Any],
) -> None:
    observe(inventory, clock, "a", **fields)
    assert inventory.list_duplicates(WINDOW) == []
    assert store.get("op") == timed_out
