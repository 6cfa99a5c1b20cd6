"""Operations as operators see and end them, next to engines that save them."""

from functools import partial

import pytest

from tests.support.audit_chain import list_rows
from tests.support.fake_clock import Clock
from tests.support.operation_factory import OperationFactory, run_concurrently, succeeds
from vmapi.domain.audit import AuditEntry
from vmapi.domain.operation import Operation, OperationError, OperationStatus
from vmapi.errors import BackendTimeout, OperationNotFound
from vmapi.store.conflicts import OperationRevisionConflict
from vmapi.store.database import Database
from vmapi.store.operations.administration import MAX_FAILURE_CHARS, OperationAdministration
from vmapi.store.operations.repository import OperationRepository


@pytest.fixture
def administration(database: Database) -> OperationAdministration:
    return OperationAdministration(database)


def audit_entry(operation: Operation, clock: Clock, action: str) -> AuditEntry:
    return AuditEntry.for_operator(operation, clock(), action, "cli:me")


def test_failed_attempts_are_counted_until_the_end(
    store: OperationRepository,
    administration: OperationAdministration,
    make: OperationFactory,
) -> None:
    operation, finished = make("op-1"), make("op-2", vm_id="other")
    for added in (operation, finished):
        store.add(added)
    store.save(make.finished(finished))
    for detail in ("late\0", "x" * 1000):
        administration.record_failure([finished, operation], BackendTimeout(detail))
    report = administration.get("op-1")
    assert report.failed_attempts == 2
    assert report.last_failure == OperationError("backend_timeout", "x" * MAX_FAILURE_CHARS)
    assert report.last_failed_at is not None
    assert report.operation == store.get("op-1") == operation
    assert administration.get("op-2").failed_attempts == 0


def test_lists_have_unfinished_and_failed_operations(
    store: OperationRepository,
    administration: OperationAdministration,
    make: OperationFactory,
    clock: Clock,
) -> None:
    for number in range(1, 6):
        store.add(make(f"op-{number}", vm_id=f"vm-{number}"))
        clock.sleep(1)
    for number, status in ((2, OperationStatus.FAILED), (3, OperationStatus.SUCCEEDED)):
        store.save(make.finished(store.get(f"op-{number}"), status=status))
    clock.sleep(1)
    store.save(make.finished(store.get("op-1"), status=OperationStatus.FAILED))
    unfinished, failed = administration.list_unfinished(10), administration.list_failed(10)
    assert [report.operation.id for report in unfinished] == ["op-4", "op-5"]
    assert [report.operation.id for report in failed] == ["op-1", "op-2"]
    assert [report.operation.id for report in administration.list_unfinished(1)] == ["op-4"]
    assert [report.is_leased for report in (*unfinished, *failed)] == [True, True, False, False]


def test_operation_of_a_dead_process_is_not_leased(
    store: OperationRepository, administration: OperationAdministration, make: OperationFactory
) -> None:
    store.add(make("op-1"))
    assert administration.get("op-1").is_leased
    # a graceful stop returns the lease
    store.close()
    assert not administration.get("op-1").is_leased


def test_retry_changes_no_revision(
    store: OperationRepository,
    administration: OperationAdministration,
    make: OperationFactory,
    clock: Clock,
    database: Database,
) -> None:
    operation = make("op-1")
    store.add(operation)
    (scanned,) = store.list_leased()
    entry = audit_entry(operation, clock, "operation_retry")
    assert administration.request_retry(operation, entry)
    (leased,) = store.list_leased()
    assert (scanned.retry_requested_at, leased.retry_requested_at) == (None, entry.at)
    # an attempt that has begun before can save its result
    store.save(make.finished(operation))
    assert not administration.request_retry(operation, entry)
    actions = [row.action for row in list_rows(database)]
    assert actions == ["stop", "operation_retry", "stop"]


def test_end_is_saved_once_with_the_act_of_the_operator(
    store: OperationRepository,
    administration: OperationAdministration,
    make: OperationFactory,
    clock: Clock,
    database: Database,
) -> None:
    operation = make("op-1")
    store.add(operation)
    failed = make.finished(operation, status=OperationStatus.FAILED)
    administration.end(failed, audit_entry(failed, clock, "operation_fail"))
    for late in (make.finished(operation), operation):
        with pytest.raises(OperationRevisionConflict):
            store.save(late)
    with pytest.raises(OperationRevisionConflict):
        administration.end(failed, audit_entry(failed, clock, "operation_fail"))
    assert store.get("op-1").status is OperationStatus.FAILED
    rows = [(row.action, row.user, row.outcome) for row in list_rows(database)]
    assert rows == [
        ("stop", "anonymous", "accepted"),
        ("operation_fail", "cli:me", "succeeded"),
        ("stop", "anonymous", "failed"),
    ]
    # the VM is free
    store.add(make("op-2"))


def test_one_of_two_concurrent_ends_is_saved(
    store: OperationRepository,
    administration: OperationAdministration,
    make: OperationFactory,
    clock: Clock,
    database: Database,
) -> None:
    for number in range(20):
        operation = make(f"op-{number}", vm_id=f"vm-{number}")
        store.add(operation)
        failed = make.finished(operation, status=OperationStatus.FAILED)
        entry = audit_entry(failed, clock, "operation_fail")
        ends = (
            partial(administration.end, failed, entry),
            partial(store.save, make.finished(operation)),
        )
        assert (
            run_concurrently(
                2, lambda turn, ends=ends: succeeds(ends[turn], OperationRevisionConflict)
            )
            == 1
        )
    rows = [(row.operation_id, row.action, row.outcome) for row in list_rows(database)]
    for number in range(20):
        ended = store.get(f"op-{number}")
        acts = [action for id, action, outcome in rows if id == ended.id and outcome != "accepted"]
        is_failed = ended.status is OperationStatus.FAILED
        assert acts == (["operation_fail", "stop"] if is_failed else ["stop"])


def test_end_loses_against_an_engine_that_was_faster(
    store: OperationRepository,
    administration: OperationAdministration,
    make: OperationFactory,
    clock: Clock,
    database: Database,
) -> None:
    operation = make("op-1")
    store.add(operation)
    store.save(make.finished(operation))
    failed = make.finished(operation, status=OperationStatus.FAILED)
    with pytest.raises(OperationRevisionConflict):
        administration.end(failed, audit_entry(failed, clock, "operation_fail"))
    assert store.get("op-1").status is OperationStatus.SUCCEEDED
    assert "operation_fail" not in [row.action for row in list_rows(database)]


@pytest.mark.parametrize("operation_id", ["unknown", "a\0b"])
def test_unknown_operation_is_not_found(
    administration: OperationAdministration, operation_id: str
) -> None:
    with pytest.raises(OperationNotFound):
        administration.get(operation_id)
