"""Names: claimed before the VM is there, until its delete has succeeded."""

from dataclasses import replace
from typing import Any

import pytest

from tests.support.operation_factory import OperationFactory
from vmapi.domain.lifecycle import Action
from vmapi.domain.operation import Operation, OperationStatus
from vmapi.errors import NameTaken
from vmapi.store.operations.repository import OperationRepository


def holder(store: OperationRepository, make: OperationFactory, name: str) -> dict[str, object]:
    """Return who has a name, as the error says."""
    with pytest.raises(NameTaken) as caught:
        store.add(make("late", Action.CREATE, None, name))
    return dict(caught.value.extra)


def made(store: OperationRepository, make: OperationFactory, name: str, vm_id: str) -> Operation:
    """Have a VM made."""
    store.add(make(f"create-{vm_id}", Action.CREATE, None, name))
    return store.save(make.finished(replace(store.get(f"create-{vm_id}"), vm_id=vm_id)))


def ended(
    store: OperationRepository, make: OperationFactory, operation: Operation, **more: Any
) -> Operation:
    """Have an operation begun and ended."""
    store.add(operation)
    return store.save(make.finished(store.get(operation.id), **more))


def test_a_name_is_claimed_while_it_is_given(
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


def test_a_name_is_its_vms_until_the_delete_has_succeeded(
    store: OperationRepository, make: OperationFactory
) -> None:
    made(store, make, "web", "vm-1")
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
def test_a_create_that_failed_has_its_name_if_it_made_a_vm(
    store: OperationRepository, make: OperationFactory, vm_id: str | None
) -> None:
    failed = {"status": OperationStatus.FAILED, "vm_id": vm_id}
    ended(store, make, make("1", Action.CREATE, None, "web"), **failed)
    if vm_id:
        assert holder(store, make, "web") == {"vm_id": vm_id}
    else:
        store.add(make("2", Action.CREATE, None, "web"))


def test_a_vm_that_is_renamed_gives_its_old_name_up(
    store: OperationRepository, make: OperationFactory
) -> None:
    made(store, make, "web", "vm-1")
    ended(store, make, make("2", Action.UPDATE, "vm-1", "db"), status=OperationStatus.FAILED)
    store.add(make("3", Action.UPDATE, "vm-1", "db"))
    assert holder(store, make, "db") == holder(store, make, "web")
    store.save(make.finished(store.get("3")))
    assert holder(store, make, "db") == {"vm_id": "vm-1"}
    store.add(make("4", Action.CREATE, None, "web"))


def test_a_name_that_is_the_vms_no_more_may_be_freed(
    store: OperationRepository, make: OperationFactory
) -> None:
    made(store, make, "web", "vm-1")
    store.release_stale_name("default", "web", "vm-2")
    store.release_stale_name("default", "db", "vm-1")
    store.release_stale_name("another", "web", "vm-1")
    assert holder(store, make, "web") == {"vm_id": "vm-1"}
    store.release_stale_name("default", "web", "vm-1")
    store.add(make("2", Action.CREATE, None, "web"))


def test_what_a_delete_ends_keeps_its_name_until_the_vm_is_gone(
    store: OperationRepository, make: OperationFactory
) -> None:
    store.add(make("1", Action.CREATE, None, "web"))
    store.save(replace(store.get("1"), vm_id="vm"))
    store.add(make("2", Action.DELETE))
    assert store.get("1").status is OperationStatus.SUPERSEDED
    assert holder(store, make, "web") == {"vm_id": "vm"}
    store.save(make.finished(store.get("2")))
    store.add(make("3", Action.CREATE, None, "web"))
