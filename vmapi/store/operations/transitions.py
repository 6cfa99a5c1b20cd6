"""Making room for a new operation, and what follows when one is over; within one transaction."""

from dataclasses import replace
from datetime import timedelta

from sqlalchemy import Connection, bindparam

from vmapi.domain.audit import AuditEntry
from vmapi.domain.lifecycle import Action
from vmapi.domain.operation import Operation, OperationStatus
from vmapi.domain.quota import QuotaConfig
from vmapi.domain.snapshot import VMSnapshot
from vmapi.store import events
from vmapi.store import quotas as quota
from vmapi.store.audit import trail as audit
from vmapi.store.conflicts import operation_in_progress
from vmapi.store.database import advisory_lock
from vmapi.store.inventory import overlay
from vmapi.store.mappers import event as event_rows
from vmapi.store.mappers import operation as rows
from vmapi.store.operations import name_claims as names
from vmapi.store.operations import statements as queries
from vmapi.store.tables import operations

IDEMPOTENCY_KEY_TTL = timedelta(hours=24)
"""How long a key stays bound to its operation."""

SELECT_OTHER_UNFINISHED = queries.SELECT_UNFINISHED_OF_VM.where(
    operations.c.id != bindparam("but")
).limit(1)
RELEASE_EXPIRED_KEY = (
    operations.update()
    .where(
        operations.c.idempotency_project == bindparam("of"),
        operations.c.idempotency_caller == bindparam("caller"),
        operations.c.idempotency_key == bindparam("key"),
        operations.c.created_at <= bindparam("old"),
    )
    .values(
        idempotency_project=None, idempotency_caller=None, idempotency_key=None, fingerprint=None
    )
)


def before_insert(connection: Connection, operation: Operation, quotas: QuotaConfig) -> bool:
    """Let a delete end what is under way.

    A key that has lived its time is freed. What else is in the way, unique indexes tell. Return
    whether something was ended. Raises StaleVM.
    """
    ended = False
    quota.serialize_creates(connection, operation, quotas)
    if operation.vm_id is not None:
        advisory_lock(connection, operation.vm_id)
        # who asked at the same time has moved it on by now; what observes it is waited for later
        overlay.check_vm_revision(connection, operation)
        if operation.action is Action.DELETE:
            ended = _supersede_unfinished(connection, operation)
    _release_expired_key(connection, operation)
    return ended


def after_insert(
    connection: Connection, operation: Operation, quotas: QuotaConfig, *, alone: bool = True
) -> VMSnapshot | None:
    """Claim name and share of the quota for an operation that was kept, show it and note it.

    It is not `alone` where it has ended another one. Return the VM as it is shown from now on, if
    that is known. Raises QuotaExceeded, TaskInProgress, StaleVM, and IntegrityError where the name
    is claimed.
    """
    names.reserve(connection, operation)
    quota.check_quota(connection, operation, quotas)
    audit.append(connection, AuditEntry.accepted(operation))
    if not alone:
        # what was ended is not laid over the VM any more
        overlay.refresh(connection, operation.vm_id)
        return None
    shown = overlay.on_begun(connection, operation)
    if shown is None and operation.action not in (Action.CREATE, Action.DELETE):
        # no index holds off a delete, nor a create that is not answered yet
        if has_other_unfinished(connection, operation):
            raise operation_in_progress()
        overlay.refresh(connection, operation.vm_id)
    return shown


def has_other_unfinished(connection: Connection, operation: Operation) -> bool:
    """Tell whether anything else is under way with the VM of an operation."""
    others = connection.execute(
        SELECT_OTHER_UNFINISHED, {"vm_id": operation.vm_id, "but": operation.id}
    )
    return others.first() is not None


def on_finished(connection: Connection, operation: Operation) -> None:
    """Let names, inventory, audit trail and events follow from how an operation ended."""
    names.finalize(connection, operation)
    overlay.on_finished(connection, operation)
    _record_end(connection, operation)


def _record_end(connection: Connection, operation: Operation) -> None:
    audit.append(connection, AuditEntry.finished(operation))
    events.append(connection, event_rows.operation_event_to_row(operation))


def _supersede_unfinished(connection: Connection, delete: Operation) -> bool:
    others = queries.SELECT_UNFINISHED_OF_VM.where(operations.c.action != Action.DELETE)
    # nobody may move them on meanwhile
    others = others.with_for_update(of=operations)
    found = queries.fetch_all(connection, others, vm_id=delete.vm_id)
    overlay.check_vm_revision(connection, delete, lock_row=True)
    for other in found:
        ended = replace(
            other,
            # a create that is not answered yet has none
            vm_id=delete.vm_id,
            status=OperationStatus.SUPERSEDED,
            finished_at=delete.created_at,
            revision=other.revision + 1,
        )
        same = operations.c.id == other.id
        connection.execute(operations.update().where(same).values(rows.to_row(ended)))
        # the VM is shown anew once the delete is there
        names.finalize(connection, ended)
        _record_end(connection, ended)
    return bool(found)


def _release_expired_key(connection: Connection, operation: Operation) -> None:
    if operation.key is not None:
        old = operation.created_at - IDEMPOTENCY_KEY_TTL
        connection.execute(RELEASE_EXPIRED_KEY, {**queries.key_params(operation.key), "old": old})
