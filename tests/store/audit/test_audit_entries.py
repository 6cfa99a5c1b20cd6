"""Audit entry tests: one entry per begin and end, in the operation's transaction."""

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.support.audit_chain import list_outcomes, list_rows
from tests.support.fake_clock import Clock
from tests.support.operation_factory import IDEMPOTENCY_KEY, OperationFactory
from vmapi.domain.audit import AuditEntry
from vmapi.domain.lifecycle import Action
from vmapi.domain.operation import OperationError, OperationStatus
from vmapi.errors import NameTaken, OperationNotFound, TaskInProgress
from vmapi.store.audit import repository as audit
from vmapi.store.audit.chain import ENTRY_FIELDS
from vmapi.store.conflicts import IdempotencyKeyConflict, OperationRevisionConflict
from vmapi.store.database import Database
from vmapi.store.operations.repository import OperationRepository


def test_entry_names_caller_address_and_action(
    store: OperationRepository, make: OperationFactory, clock: Clock, database: Database
) -> None:
    request = {
        "requested_by": "alice",
        "project": "p-1",
        "address": "192.0.2.7",
        "request_id": "r-9",
    }
    begun = clock()
    store.add(make("1", Action.CREATE, None, **request))
    clock.sleep(1.000_001)
    store.save(make.finished(replace(store.get("1"), vm_id="vm-1")))
    first, last = list_rows(database)
    for row in (first, last):
        assert (row.user, row.project, row.address, row.request_id) == tuple(request.values())
        assert (row.action, row.operation_id, row.code) == ("create", "1", None)
        assert (row.chain_position, row.mac) == (None, None)
    assert (first.at, first.outcome, first.vm_id) == (begun, "accepted", None)
    assert (last.at, last.outcome, last.vm_id) == (
        *(begun + timedelta(seconds=1, microseconds=1), "succeeded"),
        "vm-1",
    )
    assert first.id < last.id


def test_save_of_an_unfinished_operation_writes_no_entry(
    store: OperationRepository, make: OperationFactory, database: Database
) -> None:
    store.add(make("1"))
    store.save(replace(store.get("1"), status=OperationStatus.RUNNING))
    assert list_outcomes(database) == [("1", "stop", "accepted", None)]


def test_entry_of_a_failed_operation_has_the_error_code(
    store: OperationRepository, make: OperationFactory, database: Database
) -> None:
    store.add(make("1"))
    failure = OperationError("operation_timeout", "Too late.", {})
    store.save(make.finished(store.get("1"), status=OperationStatus.FAILED, error=failure))
    assert list_outcomes(database)[1:] == [("1", "stop", "failed", "operation_timeout")]


def test_delete_writes_the_entry_of_the_superseded_operation(
    store: OperationRepository, make: OperationFactory, clock: Clock, database: Database
) -> None:
    store.add(make("1", requested_by="alice", request_id="r-1"))
    clock.sleep(1)
    store.add(make("2", Action.DELETE, requested_by="bob", request_id="r-2"))
    assert list_outcomes(database) == [
        ("1", "stop", "accepted", None),
        ("1", "stop", "superseded", None),
        ("2", "delete", "accepted", None),
    ]
    ended = list_rows(database)[1]
    assert (ended.user, ended.request_id, ended.at, ended.vm_id) == ("alice", "r-1", clock(), "vm")


def test_discarded_operation_is_audited_as_refused(
    store: OperationRepository, make: OperationFactory, clock: Clock, database: Database
) -> None:
    operation = make("1", Action.CREATE, None, "web")
    store.add(operation)
    clock.sleep(1)
    for _ in range(2):
        store.discard(operation, NameTaken("taken"))
    assert list_outcomes(database) == [
        ("1", "create", "accepted", None),
        ("1", "create", "refused", "name_taken"),
    ]
    assert list_rows(database)[1].at == clock()


def test_refused_insert_writes_no_entry(
    store: OperationRepository, make: OperationFactory, database: Database
) -> None:
    store.add(make("1", Action.CREATE, None, "web", key=IDEMPOTENCY_KEY))
    store.add(make("2"))
    with pytest.raises(IdempotencyKeyConflict):
        store.add(make("3", vm_id="other", key=IDEMPOTENCY_KEY))
    with pytest.raises(NameTaken):
        store.add(make("4", Action.CREATE, None, "web"))
    with pytest.raises(TaskInProgress):
        store.add(make("5"))
    with pytest.raises(IdempotencyKeyConflict):
        # no entry says that an operation was superseded either
        store.add(make("6", Action.DELETE, key=IDEMPOTENCY_KEY))
    assert [line[0] for line in list_outcomes(database)] == ["1", "2"]
    assert not store.get("2").is_finished


def test_refused_save_writes_no_entry(
    store: OperationRepository, make: OperationFactory, database: Database
) -> None:
    store.add(make("1"))
    old = store.get("1")
    store.save(make.finished(old))
    with pytest.raises(OperationRevisionConflict):
        store.save(make.finished(old, status=OperationStatus.FAILED))
    assert [line[2] for line in list_outcomes(database)] == ["accepted", "succeeded"]


def fail(connection: object, entry: AuditEntry) -> None:
    raise ZeroDivisionError


def test_failed_audit_insert_rolls_the_operation_back(
    store: OperationRepository,
    make: OperationFactory,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store.add(make("1"))
    with monkeypatch.context() as patched:
        patched.setattr(audit, "append", fail)
        with pytest.raises(ZeroDivisionError):
            store.add(make("2", vm_id="other"))
        with pytest.raises(ZeroDivisionError):
            store.add(make("3", Action.DELETE))
        with pytest.raises(ZeroDivisionError):
            store.save(make.finished(store.get("1")))
        with pytest.raises(ZeroDivisionError):
            store.discard(store.get("1"), NameTaken("taken"))
    assert (store.get("1").status, store.get("1").revision) == (OperationStatus.PENDING, 0)
    for id in "23":
        with pytest.raises(OperationNotFound):
            store.get(id)
    assert list_outcomes(database) == [("1", "stop", "accepted", None)]


def test_entry_fields_equal_the_table_columns() -> None:
    assert {*ENTRY_FIELDS, "id", "chain_position", "mac"} == set(audit.entries.c.keys())
