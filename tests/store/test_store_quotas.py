"""Quota tests: usage is counted and checked in one transaction."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from typing import Any

import pytest

from tests.support.factories import VM_1
from tests.support.fake_clock import Clock
from tests.support.operation_factory import (
    IDEMPOTENCY_KEY,
    OperationFactory,
    run_concurrently,
    succeeds,
)
from tests.support.query_plans import explain
from vmapi.domain.lifecycle import Action, Status, Verb
from vmapi.domain.operation import Operation, OperationStatus, Step, StepState
from vmapi.domain.quota import QuotaConfig, ResourceLimits, ResourceUsage
from vmapi.errors import NameTaken, OperationNotFound, QuotaExceeded
from vmapi.store.conflicts import IdempotencyKeyConflict
from vmapi.store.database import Database
from vmapi.store.inventory.repository import InventoryRepository
from vmapi.store.operations.repository import OperationRepository
from vmapi.store.quotas import SELECT_USAGE

SMALL = {"vcpus": 1, "ram_mb": 512}
OWN_VM = replace(VM_1, project="default", **SMALL)
FOREIGN_VM = replace(OWN_VM, project="other")

Opened = Callable[..., OperationRepository]


@pytest.fixture
def limited(connect: Callable[[], Database], clock: Clock) -> Iterator[Opened]:
    """Open the repository of a process with limits per project."""
    opened: list[OperationRepository] = []

    def open(**limits: int) -> OperationRepository:
        opened.append(
            OperationRepository(
                connect(), clock, quotas=QuotaConfig(default=ResourceLimits(**limits))
            )
        )
        return opened[-1]

    yield open
    for store in opened:
        store.close()


@pytest.fixture
def inventory(database: Database) -> InventoryRepository:
    return InventoryRepository(database)


def create(make: OperationFactory, id: str, **fields: Any) -> Operation:
    return make(id, Action.CREATE, None, f"web-{id}", **{**SMALL, **fields})


def refusal(store: OperationRepository, operation: Operation) -> str:
    with pytest.raises(QuotaExceeded) as caught:
        store.add(operation)
    with pytest.raises(OperationNotFound):
        store.get(operation.id)
    return caught.value.detail


def test_quota_admits_ten_of_fifty_concurrent_inserts(
    limited: Opened, make: OperationFactory
) -> None:
    stores = [limited(vms=10), limited(vms=10)]

    def add(number: int) -> bool:
        operation = create(make, str(number))
        return succeeds(lambda: stores[number % 2].add(operation), QuotaExceeded)

    assert run_concurrently(50, add) == 10
    assert len(stores[0].list_leased()) + len(stores[1].list_leased()) == 10


def test_error_names_limit_usage_and_request(limited: Opened, make: OperationFactory) -> None:
    store = limited(vms=3, vcpus=4, ram_mb=4096)
    store.add(create(make, "1", vcpus=2, ram_mb=1024))
    assert refusal(store, create(make, "2", vcpus=3)) == (
        "Project default may have 4 vCPUs, 2 are used and 3 asked for."
    )
    assert refusal(store, create(make, "2", vcpus=3, ram_mb=3073)) == (
        "Project default may have 4 vCPUs, 2 are used and 3 asked for; "
        "4096 MB of RAM, 1024 are used and 3073 asked for."
    )
    store.add(create(make, "2", ram_mb=3072))
    store.add(create(make, "3", ram_mb=0))
    assert refusal(store, create(make, "4", vcpus=0, ram_mb=0)) == (
        "Project default may have 3 VMs, 3 are used and 1 asked for."
    )
    store.add(create(make, "5", project="other"))


def test_vm_counts_once_from_create_to_delete(
    limited: Opened, inventory: InventoryRepository, make: OperationFactory
) -> None:
    store, one_vm = limited(vms=100), ResourceUsage(1, **SMALL)
    created_vm = replace(OWN_VM, id="vm", operation_id="1")
    store.add(create(make, "1"))
    assert inventory.get_usage("default") == one_vm
    # observed before its project is known
    inventory.save_observations([created_vm], inventory.observation_time())
    assert inventory.get_usage("default") == one_vm
    store.save(replace(store.get("1"), vm_id="vm"))
    assert inventory.get_usage("default") == one_vm
    store.save(make.finished(store.get("1")))
    assert inventory.get_usage("default") == one_vm
    store.add(make("2", Action.DELETE, "vm"))
    assert inventory.get_usage("default") == one_vm
    inventory.mark_deleted("vm", created_vm.updated_at, inventory.observation_time())
    assert inventory.get_usage("default") == ResourceUsage()


def test_expected_vm_counts_once(
    limited: Opened, inventory: InventoryRepository, make: OperationFactory
) -> None:
    store = limited(vms=100)
    store.add(create(make, "1"))
    new = replace(OWN_VM, id="vm", name="web-1", status=Status.BUILDING)
    operation = store.get("1").with_step(Step(Verb.CREATE, StepState.ACCEPTED))
    store.save(replace(operation, vm_id="vm"), expected_vm=new)
    assert inventory.get_usage("default") == ResourceUsage(1, **SMALL)


def test_failed_create_frees_its_quota(
    limited: Opened, inventory: InventoryRepository, make: OperationFactory
) -> None:
    store = limited(vms=1)
    store.add(create(make, "1"))
    refusal(store, create(make, "2"))
    store.save(make.finished(store.get("1"), status=OperationStatus.FAILED))
    store.add(create(make, "2"))
    store.discard(store.get("2"), NameTaken("taken"))
    assert inventory.get_usage("default") == ResourceUsage()
    store.add(create(make, "3"))


def test_usage_skips_foreign_and_deleted_vms_and_counts_unknown_sizes_as_zero(
    limited: Opened, inventory: InventoryRepository, make: OperationFactory
) -> None:
    store = limited(vms=2, vcpus=1)
    inventory.save_observations(
        [
            replace(OWN_VM, id="1", status=Status.DELETED),
            replace(FOREIGN_VM, id="2", name="web-9"),
            replace(OWN_VM, id="3", vcpus=None, ram_mb=None),
            replace(OWN_VM, id="4", project=None),
        ],
        inventory.observation_time(),
    )
    assert inventory.get_usage("default") == ResourceUsage(1, 0, 0)
    store.add(create(make, "9"))
    assert inventory.get_usage("default") == ResourceUsage(2, 1, 512)
    assert inventory.get_usage("other") == ResourceUsage(1, **SMALL)


def test_external_vm_uses_the_quota(
    limited: Opened, inventory: InventoryRepository, make: OperationFactory
) -> None:
    store = limited(vms=1)
    inventory.save_observations(
        [replace(OWN_VM, id=str(number)) for number in range(3)], inventory.observation_time()
    )
    assert refusal(store, create(make, "1")) == (
        "Project default may have 1 VMs, 3 are used and 1 asked for."
    )
    # nothing but a create takes anything
    for number, action in enumerate((Action.STOP, Action.UPDATE, Action.DELETE)):
        store.add(make(f"of-{number}", action, str(number)))


def test_key_and_name_conflicts_precede_the_quota(limited: Opened, make: OperationFactory) -> None:
    store = limited(vms=1)
    store.add(create(make, "1", key=IDEMPOTENCY_KEY))
    with pytest.raises(IdempotencyKeyConflict):
        store.add(replace(create(make, "2", key=IDEMPOTENCY_KEY), reserved_name="web-1"))
    with pytest.raises(NameTaken):
        store.add(replace(create(make, "3"), reserved_name="web-1"))


def test_one_create_of_a_key_is_admitted_at_the_limit(
    limited: Opened, make: OperationFactory
) -> None:
    store, numbers = limited(vms=1), count()

    def add(_: int) -> bool:
        return succeeds(
            lambda: store.add(create(make, f"{next(numbers)}", key=IDEMPOTENCY_KEY)),
            IdempotencyKeyConflict,
        )

    assert run_concurrently(20, add) == 1


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_usage_is_read_from_indexes_of_vms_and_unfinished_operations(database: Database) -> None:
    plan = explain(database, SELECT_USAGE.params(of_project="default", excluded_id="1"))
    assert "vms USING COVERING INDEX ix_vms_usage" in plan
    assert "operations USING INDEX ix_operations_finished_at (finished_at=?)" in plan
