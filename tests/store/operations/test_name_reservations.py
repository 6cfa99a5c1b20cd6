"""Name reservation tests: from the insert of an operation to a delete."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.support.factories import T0, VM_1
from tests.support.operation_factory import OperationFactory
from vmapi.domain.lifecycle import Action
from vmapi.domain.operation import Operation, OperationStatus
from vmapi.errors import NameTaken
from vmapi.store.database import Database
from vmapi.store.inventory.repository import InventoryRepository
from vmapi.store.operations.repository import OperationRepository


def holder(store: OperationRepository, make: OperationFactory, name: str) -> dict[str, object]:
    """Return the holder of a name, as the error names it."""
    with pytest.raises(NameTaken) as caught:
        store.add(make("late", Action.CREATE, None, name))
    return dict(caught.value.extra)


def add_create(
    store: OperationRepository, make: OperationFactory, name: str, vm_id: str
) -> Operation:
    """Add the finished operation that created a VM with a name."""
    store.add(make(f"create-{vm_id}", Action.CREATE, None, name))
    return store.save(make.finished(replace(store.get(f"create-{vm_id}"), vm_id=vm_id))).operation


def ended(
    store: OperationRepository, make: OperationFactory, operation: Operation, **more: Any
) -> Operation:
    """Have an operation begun and ended."""
    store.add(operation)
    return store.save(make.finished(store.get(operation.id), **more)).operation


def test_name_is_reserved_by_an_unfinished_operation(
    store: OperationRepository, make: OperationFactory
) -> None:
    store.add(make("1", Action.CREATE, None, "web"))
    with pytest.raises(NameTaken, match=r"^The name web is reserved for another VM\.$"):
        store.add(make("2", Action.CREATE, None, "web"))
    assert holder(store, make, "web") == {"operation_id": "1"}
    store.add(make("3", Action.CREATE, None, "Web"))
    store.add(make("4", Action.CREATE, None, "web", project="another"))
    store.save(replace(store.get("1"), vm_id="vm-1"))
    assert holder(store, make, "web") == {"vm_id": "vm-1"}
    store.release_stale_name("default", "web", "vm-1")
    assert holder(store, make, "web") == {"vm_id": "vm-1"}


def test_vm_holds_its_name_until_its_delete_succeeds(
    store: OperationRepository, make: OperationFactory
) -> None:
    add_create(store, make, "web", "vm-1")
    with pytest.raises(NameTaken, match=r"^VM vm-1 has the name web already\.$"):
        store.add(make("2", Action.CREATE, None, "web"))
    failed = {"status": OperationStatus.FAILED}
    ended(store, make, make("3", Action.DELETE, "vm-1"), **failed)
    ended(store, make, make("4", Action.STOP, "vm-1"))
    ended(store, make, make("5", Action.DELETE, "vm-2"))
    assert holder(store, make, "web") == {"vm_id": "vm-1"}
    ended(store, make, make("6", Action.DELETE, "vm-1"))
    store.add(make("7", Action.CREATE, None, "web"))


@pytest.mark.parametrize("vm_id", [None, "vm-1"])
def test_failed_create_holds_its_name_if_it_has_a_vm(
    store: OperationRepository, make: OperationFactory, vm_id: str | None
) -> None:
    failed = {"status": OperationStatus.FAILED, "vm_id": vm_id}
    ended(store, make, make("1", Action.CREATE, None, "web"), **failed)
    if vm_id:
        assert holder(store, make, "web") == {"vm_id": vm_id}
    else:
        store.add(make("2", Action.CREATE, None, "web"))


def test_rename_releases_the_old_name(store: OperationRepository, make: OperationFactory) -> None:
    add_create(store, make, "web", "vm-1")
    ended(store, make, make("2", Action.UPDATE, "vm-1", "db"), status=OperationStatus.FAILED)
    store.add(make("3", Action.UPDATE, "vm-1", "db"))
    assert holder(store, make, "db") == holder(store, make, "web")
    store.save(make.finished(store.get("3")))
    assert holder(store, make, "db") == {"vm_id": "vm-1"}
    store.add(make("4", Action.CREATE, None, "web"))


def test_release_stale_name_releases_a_lost_name_only(
    store: OperationRepository, make: OperationFactory
) -> None:
    add_create(store, make, "web", "vm-1")
    store.release_stale_name("default", "web", "vm-2")
    store.release_stale_name("default", "db", "vm-1")
    store.release_stale_name("another", "web", "vm-1")
    assert holder(store, make, "web") == {"vm_id": "vm-1"}
    store.release_stale_name("default", "web", "vm-1")
    store.add(make("2", Action.CREATE, None, "web"))


def test_superseded_operation_holds_its_name_until_the_delete(
    store: OperationRepository, make: OperationFactory
) -> None:
    store.add(make("1", Action.CREATE, None, "web"))
    store.save(replace(store.get("1"), vm_id="vm"))
    store.add(make("2", Action.DELETE))
    assert store.get("1").status is OperationStatus.SUPERSEDED
    assert holder(store, make, "web") == {"vm_id": "vm"}
    store.save(make.finished(store.get("2")))
    store.add(make("3", Action.CREATE, None, "web"))


def test_purge_of_deleted_vms_releases_their_names(
    store: OperationRepository, make: OperationFactory, database: Database
) -> None:
    inventory = InventoryRepository(database)
    for vm_id in ("deleted", "renaming", "live"):
        add_create(store, make, f"name-{vm_id}", vm_id)
    store.add(make("rename", Action.UPDATE, "renaming", "name-next"))
    observed = [replace(VM_1, id=vm_id) for vm_id in ("deleted", "renaming", "live")]
    inventory.save_observations(observed, inventory.observation_time())
    for vm_id in ("deleted", "renaming"):
        inventory.mark_deleted(vm_id, T0, inventory.observation_time())
    assert holder(store, make, "name-deleted") == {"vm_id": "deleted"}
    assert inventory.purge_deleted(T0 + timedelta(seconds=1)) == 2
    store.add(make("again", Action.CREATE, None, "name-deleted"))
    # an unfinished operation gives this name
    assert holder(store, make, "name-next") == {"vm_id": "renaming"}
    assert holder(store, make, "name-live") == {"vm_id": "live"}
