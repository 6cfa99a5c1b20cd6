"""Admission tests: a VM has one unfinished operation besides deletes."""

from collections.abc import Callable
from itertools import count
from typing import Any

import pytest

from tests.support.fake_clock import Clock
from tests.support.operation_factory import (
    IDEMPOTENCY_KEY,
    OperationFactory,
    run_concurrently,
    succeeds,
)
from vmapi.domain.lifecycle import Action
from vmapi.domain.operation import OperationStatus
from vmapi.errors import NameTaken, OperationNotFound, TaskInProgress
from vmapi.store.conflicts import IdempotencyKeyConflict, OperationRevisionConflict
from vmapi.store.operations.repository import OperationRepository


def test_vm_has_at_most_one_unfinished_operation(
    store: OperationRepository, make: OperationFactory
) -> None:
    store.add(make("1"))
    with pytest.raises(TaskInProgress, match="Another change of the VM is still in progress"):
        store.add(make("2"))
    store.add(make("3", vm_id="other"))
    store.add(make("4", Action.CREATE, vm_id=None))
    store.add(make("5", Action.CREATE, vm_id=None))
    store.save(make.finished(store.get("1")))
    store.add(make("6"))
    assert {operation.id for operation in store.list_leased()} == {"3", "4", "5", "6"}


def test_refused_operation_leaves_no_row(
    store: OperationRepository, make: OperationFactory
) -> None:
    store.add(make("1", Action.CREATE, None, "web"))
    with pytest.raises(NameTaken):
        store.add(make("2", Action.CREATE, None, "web", key=IDEMPOTENCY_KEY))
    with pytest.raises(OperationNotFound):
        store.get("2")
    assert store.find_by_key(IDEMPOTENCY_KEY) is None
    with store.lease("2") as held:
        assert not held or "2" not in {operation.id for operation in store.list_leased()}


def test_delete_supersedes_the_unfinished_operation(
    store: OperationRepository, make: OperationFactory, clock: Clock
) -> None:
    store.add(make("1"))
    clock.sleep(1)
    store.add(make("2", Action.DELETE))
    ended = store.get("1")
    assert (ended.status, ended.finished_at) == (OperationStatus.SUPERSEDED, clock())
    assert ended.revision == 1
    with pytest.raises(OperationRevisionConflict):
        store.save(make.finished(make("1")))
    with pytest.raises(OperationRevisionConflict):
        store.save(make.finished(ended))
    clock.sleep(1)
    store.add(make("3", Action.DELETE))
    assert [operation.id for operation in store.list_leased()] == ["2", "3"]
    with pytest.raises(TaskInProgress, match="Another change of the VM is still in progress"):
        store.add(make("4"))
    store.add(make("5", vm_id="other"))


def test_delete_supersedes_nothing_else(store: OperationRepository, make: OperationFactory) -> None:
    store.add(make("1", vm_id="other"))
    store.add(make("2", Action.CREATE, vm_id=None))
    store.add(make("3"))
    store.save(make.finished(store.get("3")))
    store.add(make("4", Action.DELETE))
    assert {operation.id for operation in store.list_leased()} == {"1", "2", "4"}
    assert store.get("3").status is OperationStatus.SUCCEEDED


def test_find_unfinished_returns_the_newest(
    store: OperationRepository, make: OperationFactory, clock: Clock
) -> None:
    assert store.find_unfinished("vm") is None
    store.add(make("2", Action.DELETE))
    clock.sleep(1)
    store.add(make("1", Action.DELETE))
    store.add(make("3", vm_id="other"))
    store.add(make("4", Action.CREATE, vm_id=None))
    store.save(store.get("2"))
    operations = [store.find_unfinished(vm_id) for vm_id in ("vm", "other", "unknown")]
    assert [operation and operation.id for operation in operations] == ["1", "3", None]


def test_concurrent_inserts_admit_one_operation(
    store: OperationRepository, make: OperationFactory
) -> None:
    numbers = count()

    def add(**fields: Any) -> Callable[[int], bool]:
        refusals = (NameTaken, TaskInProgress, IdempotencyKeyConflict)
        return lambda _: succeeds(lambda: store.add(make(f"{next(numbers)}", **fields)), *refusals)

    assert run_concurrently(20, add(action=Action.CREATE, vm_id=None, name="web")) == 1
    assert run_concurrently(20, add(action=Action.CREATE, vm_id=None, key=IDEMPOTENCY_KEY)) == 1
    assert run_concurrently(20, add()) == 1
    stop = store.find_unfinished("vm")
    assert stop is not None
    assert (
        run_concurrently(
            20, lambda _: succeeds(lambda: store.save(stop), OperationRevisionConflict)
        )
        == 1
    )
    assert run_concurrently(20, add(action=Action.DELETE)) == 20
    assert store.get(stop.id).status is OperationStatus.SUPERSEDED


def test_save_refuses_a_superseded_operation(
    store: OperationRepository, other: OperationRepository, make: OperationFactory
) -> None:
    store.add(make("1"))
    other.add(make("2", Action.DELETE))
    assert [operation.id for operation in store.list_leased()] == []
