"""Rows that change in the transaction that inserts or finishes an operation.

Only the operation repository calls these functions.

Admission of an operation
=========================

`OperationRepository.add` admits a new operation or raises the error of the rule that it breaks. It
runs one transaction:

1. Before the insert: the creates of a project with a quota are serialized by an advisory lock. The
   VM is locked too, and its revision compared with `If-Match`. A delete supersedes the unfinished
   operations of its VM.
2. The insert. Unique indexes refuse a second unfinished operation of a VM (deletes excepted) and a
   second operation of an idempotency key, whichever process writes first.
3. After the insert: the name is reserved (a primary key refuses a second holder), the quota is
   checked with this operation counted, the audit entry is written, and the overlay shows the task
   of the operation on the VM. Where the VM shows no task yet but has another unfinished operation
   that no index covers (an unfinished delete, or a create without a response), TaskInProgress is
   raised.

Any error rolls everything back. An IntegrityError does not name the rule: the repository finds the
holder of key, name or VM afterwards. If the holder has finished in the meantime, or its key has
expired, no conflict is left. Then the repository releases the key and attempts the insert again.

Invariants: a VM has at most one unfinished operation besides deletes; a name has one holder per
project; a key has one operation; usage never exceeds the quota; the audit trail has one `accepted`
entry per admitted operation, and one entry for its end.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection, bindparam

from vmapi.domain.access.caller import IDEMPOTENCY_KEY_TTL
from vmapi.domain.audit import AuditEntry
from vmapi.domain.lifecycle import Action
from vmapi.domain.observation import Observation
from vmapi.domain.operation import Operation, OperationStatus
from vmapi.domain.quota import QuotaConfig
from vmapi.domain.snapshot import VMSnapshot
from vmapi.domain.vm import VM
from vmapi.store import events
from vmapi.store import quotas as quota_usage
from vmapi.store.audit import repository as audit
from vmapi.store.conflicts import operation_in_progress
from vmapi.store.inventory import observations, overlay
from vmapi.store.mappers import event as event_mapper
from vmapi.store.mappers import operation as mapper
from vmapi.store.operations import bulk_events, name_reservations, statements
from vmapi.store.tables import operations
from vmapi.store.vm_locks import lock_vms

SELECT_OTHER_UNFINISHED = statements.SELECT_UNFINISHED_OF_VM.where(
    operations.c.id != bindparam("excluded_id")
).limit(1)
RELEASE_EXPIRED_KEY = statements.release_keys(operations).where(
    statements.has_key(operations), operations.c.created_at <= bindparam("expired_before")
)


def before_insert(
    connection: Connection, operation: Operation, quotas: QuotaConfig, vm_revision: int | None
) -> Sequence[Operation]:
    """Prepare the insert of an operation; return the operations that it superseded.

    A delete supersedes the unfinished operations of its VM. Other conflicts surface as
    IntegrityError of the insert. Raises VMRevisionConflict.
    """
    superseded: Sequence[Operation] = ()
    quota_usage.serialize_creates(connection, operation, quotas)
    if operation.vm_id is not None:
        lock_vms(connection, [operation.vm_id])
        # a concurrent operation has changed the revision by now; `on_begun` waits for observations
        overlay.check_vm_revision(connection, operation.vm_id, vm_revision)
        if operation.action is Action.DELETE:
            superseded = _supersede_unfinished(connection, operation, vm_revision)
    return superseded


def release_expired_key(connection: Connection, operation: Operation) -> None:
    """Release the idempotency key of an operation from an older one that has expired."""
    if operation.key is not None:
        expired_before = operation.created_at - IDEMPOTENCY_KEY_TTL
        params = {**statements.key_params(operation.key), "expired_before": expired_before}
        connection.execute(RELEASE_EXPIRED_KEY, params)


def after_insert(
    connection: Connection,
    operation: Operation,
    quotas: QuotaConfig,
    vm_revision: int | None,
    *,
    superseded: Sequence[Operation] = (),
) -> VMSnapshot | None:
    """Reserve the name, check the quota, write the audit entry and show the task.

    `superseded`: the operations that this one has superseded. Returns the changed VM; None if it is
    unknown or shows the task already. Raises QuotaExceeded, TaskInProgress, VMRevisionConflict, and
    IntegrityError if another operation or VM holds the name.
    """
    name_reservations.reserve(connection, operation)
    quota_usage.check_quota(connection, operation, quotas)
    audit.append(connection, AuditEntry.accepted(operation))
    if superseded:
        # the task of the superseded operation leaves the overlay
        overlay.refresh(connection, operation.vm_id)
        bulk_events.append_if_finished(connection, superseded)
        return None
    snapshot = overlay.on_begun(connection, operation, vm_revision)
    if snapshot is None and operation.action not in (Action.CREATE, Action.DELETE):
        # no index covers an unfinished delete, nor a create without a response
        if has_other_unfinished(connection, operation):
            raise operation_in_progress()
        overlay.refresh(connection, operation.vm_id)
    return snapshot


def has_other_unfinished(connection: Connection, operation: Operation) -> bool:
    """Return whether the VM of an operation has another unfinished operation."""
    params = {"vm_id": operation.vm_id, "excluded_id": operation.id}
    return connection.execute(SELECT_OTHER_UNFINISHED, params).first() is not None


def on_saved(
    connection: Connection,
    operation: Operation,
    observation: Observation | None,
    expected_vm: VM | None,
) -> tuple[VMSnapshot | None, bool]:
    """Save all that follows from the new state of an operation.

    Name, audit trail and events change with the end of the operation. Returns the VM of the
    operation where its row was written, and whether all VMs of the observation are saved.
    """
    if operation.is_finished:
        name_reservations.finalize(connection, operation)
    vm, is_applied = None, False
    if observation is not None:
        vm, is_applied = _apply(connection, operation, observation)
    if vm is None and operation.is_finished:
        overlay.on_finished(connection, operation)
    elif vm is None and operation.is_awaiting_outcome:
        vm = overlay.on_accepted(connection, operation, expected_vm)
    if operation.is_finished:
        _record_end(connection, operation)
        bulk_events.append_if_finished(connection, [operation])
    return vm, is_applied


def _apply(
    connection: Connection, operation: Operation, observation: Observation
) -> tuple[VMSnapshot | None, bool]:
    if observation.gone_vm_id is not None:
        deleted_at = operation.finished_at or operation.created_at
        observations.apply_deletion(
            connection, observation.gone_vm_id, deleted_at, observation.started_at
        )
    if not observation.vms:
        return None, True
    # an observation that started before now may predate the step that this one shows
    applied = observations.apply(connection, observation, raises_fence=True)
    return applied.find_snapshot(operation.vm_id), len(applied.rows) == len(observation.vms)


def on_discarded(connection: Connection, operation: Operation, entry: AuditEntry) -> None:
    """Release the name of a deleted operation, hide its task and write its audit entry."""
    name_reservations.release(connection, operation)
    overlay.refresh(connection, operation.vm_id)
    audit.append(connection, entry)


def supersede(
    connection: Connection, operation: Operation, vm_id: str | None, at: datetime
) -> Operation:
    """Save that a delete of a VM has ended an operation; return the operation.

    The caller holds the lock of its row, and refreshes the overlay after the insert of the delete.
    """
    superseded = replace(
        operation,
        # a create without a response has no VM id yet
        vm_id=vm_id,
        status=OperationStatus.SUPERSEDED,
        finished_at=at,
        revision=operation.revision + 1,
    )
    is_same = operations.c.id == operation.id
    connection.execute(operations.update().where(is_same).values(mapper.to_row(superseded)))
    name_reservations.finalize(connection, superseded)
    _record_end(connection, superseded)
    return superseded


def _record_end(connection: Connection, operation: Operation) -> None:
    audit.append(connection, AuditEntry.finished(operation))
    events.append(connection, event_mapper.operation_event_to_row(operation))


def _supersede_unfinished(
    connection: Connection, delete: Operation, vm_revision: int | None
) -> Sequence[Operation]:
    query = statements.SELECT_UNFINISHED_OF_VM.where(operations.c.action != Action.DELETE)
    # row locks: no worker may save one of them before this transaction ends
    query = query.with_for_update(of=operations)
    unfinished = statements.fetch_all(connection, query, vm_id=delete.vm_id)
    overlay.check_vm_revision(connection, delete.vm_id, vm_revision, lock_row=True)
    return [
        supersede(connection, operation, delete.vm_id, delete.created_at)
        for operation in unfinished
    ]
