"""Making room for a new operation, and what follows when one is over; within one transaction."""

from dataclasses import replace
from datetime import timedelta

from sqlalchemy import Connection, bindparam

from vmapi.domain.audit import AuditEntry
from vmapi.domain.lifecycle import Action
from vmapi.domain.operation import Operation, OperationStatus
from vmapi.domain.quota import Quotas
from vmapi.domain.snapshot import Sighting
from vmapi.store import events
from vmapi.store import quotas as quota
from vmapi.store.audit import trail as audit
from vmapi.store.conflicts import under_way
from vmapi.store.database import lock
from vmapi.store.inventory import overlay
from vmapi.store.mappers import event as event_rows
from vmapi.store.mappers import operation as rows
from vmapi.store.operations import name_claims as names
from vmapi.store.operations import statements as queries
from vmapi.store.tables import operations

KEY_LIFE = timedelta(hours=24)
"""How long a key stays bound to its operation."""

OTHERS = queries.UNFINISHED_OF_VM.where(operations.c.id != bindparam("but")).limit(1)
FORGET_KEY = (
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


def make(connection: Connection, operation: Operation, quotas: Quotas) -> bool:
    """Let a delete end what is under way.

    A key that has lived its time is freed. What else is in the way, unique indexes tell. Return
    whether something was ended. Raises StaleVM.
    """
    ended = False
    quota.queue(connection, operation, quotas)
    if operation.vm_id is not None:
        lock(connection, operation.vm_id)
        # who asked at the same time has moved it on by now; what observes it is waited for later
        overlay.check(connection, operation)
        if operation.action is Action.DELETE:
            ended = _supersede(connection, operation)
    _forget_key(connection, operation)
    return ended


def take(
    connection: Connection, operation: Operation, quotas: Quotas, *, alone: bool = True
) -> Sighting | None:
    """Claim name and share of the quota for an operation that was kept, show it and note it.

    It is not `alone` where it has ended another one. Return the VM as it is shown from now on, if
    that is known. Raises QuotaExceeded, TaskInProgress, StaleVM, and IntegrityError where the name
    is claimed.
    """
    names.claim(connection, operation)
    quota.check(connection, operation, quotas)
    audit.append(connection, AuditEntry.accepted(operation))
    if not alone:
        # what was ended is not laid over the VM any more
        overlay.refresh(connection, operation.vm_id)
        return None
    shown = overlay.begun(connection, operation)
    if shown is None and operation.action not in (Action.CREATE, Action.DELETE):
        # no index holds off a delete, nor a create that is not answered yet
        if is_barred(connection, operation):
            raise under_way()
        overlay.refresh(connection, operation.vm_id)
    return shown


def is_barred(connection: Connection, operation: Operation) -> bool:
    """Tell whether anything else is under way with the VM of an operation."""
    others = connection.execute(OTHERS, {"vm_id": operation.vm_id, "but": operation.id})
    return others.first() is not None


def settle(connection: Connection, operation: Operation) -> None:
    """Let names, inventory, audit trail and events follow from how an operation ended."""
    names.settle(connection, operation)
    overlay.ended(connection, operation)
    _tell(connection, operation)


def _tell(connection: Connection, operation: Operation) -> None:
    audit.append(connection, AuditEntry.ended(operation))
    events.append(connection, event_rows.of_operation(operation))


def _supersede(connection: Connection, delete: Operation) -> bool:
    others = queries.UNFINISHED_OF_VM.where(operations.c.action != Action.DELETE)
    # nobody may move them on meanwhile
    others = others.with_for_update(of=operations)
    found = queries.found(connection, others, vm_id=delete.vm_id)
    overlay.check(connection, delete, hold=True)
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
        connection.execute(operations.update().where(same).values(rows.of_operation(ended)))
        # the VM is shown anew once the delete is there
        names.settle(connection, ended)
        _tell(connection, ended)
    return bool(found)


def _forget_key(connection: Connection, operation: Operation) -> None:
    if operation.key is not None:
        old = operation.created_at - KEY_LIFE
        connection.execute(FORGET_KEY, {**queries.naming(operation.key), "old": old})
