"""Project tests: foreign VMs and operations are invisible, projects stay known."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from tests.support.factories import T0, VM_1
from tests.support.operation_factory import ALL_OPERATIONS, IDEMPOTENCY_KEY, OperationFactory
from vmapi.domain.access.project import Scope
from vmapi.domain.lifecycle import Action, Status
from vmapi.domain.operation import OperationQuery
from vmapi.domain.pagination import PageRequest
from vmapi.domain.vm import VM, VMQuery
from vmapi.errors import OperationNotFound
from vmapi.store.database import Database
from vmapi.store.inventory.repository import InventoryRepository
from vmapi.store.operations.repository import OperationRepository

YESTERDAY: datetime = T0 - timedelta(days=1)
WEB = replace(VM_1, id="w", project="web", vcpus=2, ram_mb=4096)
DB = replace(VM_1, id="d", project="db")
NOBODYS = replace(VM_1, id="n", project=None)


@pytest.fixture
def inventory(database: Database) -> InventoryRepository:
    inventory = InventoryRepository(database)
    inventory.save_observations([WEB, DB, NOBODYS], inventory.observation_time())
    return inventory


def list_ids(
    inventory: InventoryRepository, scope: Scope, *statuses: Status
) -> tuple[set[str], int]:
    query = VMQuery(statuses=frozenset(statuses))
    page = inventory.list_page(query, PageRequest(), YESTERDAY, scope).page
    return {vm.id for vm in page.items}, page.total


def only(inventory: InventoryRepository, vm_id: str) -> VM:
    known = inventory.get(vm_id)
    assert known is not None
    return known.vm


def test_scope_selects_the_vms_of_its_project(inventory: InventoryRepository) -> None:
    assert list_ids(inventory, "web") == ({"w"}, 1)
    assert list_ids(inventory, "unknown") == (set(), 0)
    assert list_ids(inventory, None) == ({"w", "d", "n"}, 3)
    known = [inventory.get(vm_id, "web") for vm_id in ("w", "d", "n", "unknown")]
    assert [snapshot and snapshot.vm for snapshot in known] == [WEB, None, None, None]
    assert [only(inventory, vm.id) for vm in (WEB, DB, NOBODYS)] == [WEB, DB, NOBODYS]


def test_vm_can_move_to_another_project(inventory: InventoryRepository) -> None:
    inventory.save_observations([replace(WEB, project="db")], inventory.observation_time())
    assert list_ids(inventory, "web") == (set(), 0)
    assert list_ids(inventory, "db") == ({"w", "d"}, 2)


@pytest.mark.parametrize("project", [None, "web"])
def test_deleted_vm_stays_in_its_project(
    inventory: InventoryRepository, project: str | None
) -> None:
    gone = replace(WEB, status=Status.DELETED, project=project)
    inventory.save_observations([gone], inventory.observation_time())
    assert list_ids(inventory, "web", Status.DELETED) == ({"w"}, 1)
    assert list_ids(inventory, "db", Status.DELETED) == (set(), 0)


def test_vm_missing_in_the_cloud_stays_in_its_project(inventory: InventoryRepository) -> None:
    inventory.mark_deleted("w", T0, inventory.observation_time())
    assert list_ids(inventory, "web", Status.DELETED) == ({"w"}, 1)


def test_project_stays_known_while_a_cell_is_down(inventory: InventoryRepository) -> None:
    unreadable = VM("w", "w", "", None, Status.ERROR, T0, T0, "UNKNOWN")
    inventory.save_observations([unreadable], inventory.observation_time())
    vm = only(inventory, "w")
    assert (vm.project, vm.vcpus, vm.ram_mb) == ("web", 2, 4096)
    assert list_ids(inventory, "web") == ({"w"}, 1)


def test_scope_selects_the_operations_of_its_project(
    store: OperationRepository, make: OperationFactory
) -> None:
    store.add(make("1", vm_id="w", project="web"))
    store.add(make("2", vm_id="d", project="db"))
    assert store.get("1", "web") == store.get("1", None) == store.get("1")
    unknown = "There is no operation 1."
    with pytest.raises(OperationNotFound, match=unknown):
        store.get("1", "db")

    def ids(query: OperationQuery, scope: Scope) -> tuple[list[str], int]:
        page = store.list_page(query, PageRequest(), scope)
        return sorted(operation.id for operation in page.items), page.total

    assert ids(ALL_OPERATIONS, "web") == (["1"], 1)
    assert ids(ALL_OPERATIONS, None) == (["1", "2"], 2)
    assert ids(OperationQuery(vm_id="d"), "web") == ([], 0)


def test_same_key_in_another_project_is_another_key(
    store: OperationRepository, make: OperationFactory
) -> None:
    other = replace(IDEMPOTENCY_KEY, project="db")
    store.add(make("1", Action.CREATE, None, "web-1", project="default", key=IDEMPOTENCY_KEY))
    assert store.find_by_key(other) is None
    store.add(make("2", Action.CREATE, None, "web-1", project="db", key=other))
    bound = [store.find_by_key(key) for key in (IDEMPOTENCY_KEY, other)]
    assert [operation and (operation.id, operation.key) for operation in bound] == [
        ("1", IDEMPOTENCY_KEY),
        ("2", other),
    ]
    for key, id in ((IDEMPOTENCY_KEY, "1"), (other, "2")):
        page = store.list_page(OperationQuery(key=key), PageRequest(), key.project)
        assert [operation.id for operation in page.items] == [id]


def test_key_has_the_project_of_the_caller_and_the_operation_that_of_the_vm(
    store: OperationRepository, make: OperationFactory
) -> None:
    store.add(make("1", vm_id="d", project="db", key=IDEMPOTENCY_KEY))
    bound = store.find_by_key(IDEMPOTENCY_KEY)
    assert bound is not None
    assert (bound.project, bound.key) == ("db", IDEMPOTENCY_KEY)
