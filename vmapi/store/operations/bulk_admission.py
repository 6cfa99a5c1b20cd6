"""Admit a bulk operation: the rules of `transitions`, with one statement for many operations.

The bulk operation repository runs `admit` in one transaction. None of the operations gives a name
or counts in a quota: a bulk action neither creates nor renames.
"""

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, select

from vmapi.domain.access.caller import IDEMPOTENCY_KEY_TTL
from vmapi.domain.audit import AuditEntry
from vmapi.domain.bulk import BulkOperation
from vmapi.domain.lifecycle import Action
from vmapi.domain.operation import Operation
from vmapi.store.audit import repository as audit
from vmapi.store.clock import db_now
from vmapi.store.conflicts import VMsInProgress
from vmapi.store.inventory import overlay
from vmapi.store.mappers import bulk as bulk_mapper
from vmapi.store.mappers import operation as mapper
from vmapi.store.operations import bulk_events, statements, transitions
from vmapi.store.operations.leases import LEASE_DURATION_US
from vmapi.store.tables import (
    HAS_NO_VM,
    IS_UNFINISHED,
    bulk_operations,
    operations,
    vms,
)
from vmapi.store.vm_locks import lock_vms

INSERT_BULK = bulk_operations.insert()
INSERT_LEASED = operations.insert().values(lease_expires_at=db_now() + LEASE_DURATION_US)
INSERT_UNLEASED = operations.insert().values(lease_expires_at=0)

IS_ONE_OF_VMS = vms.c.id.in_(bindparam("vm_ids", expanding=True))
# a create without a response: users can copy its tag to another VM, so the project must match too
IS_CREATE_OF_VM = HAS_NO_VM & (operations.c.id == vms.c.operation_id)
SELECT_UNFINISHED_BY_ID = (
    select(operations.c.vm_id)
    .where(IS_UNFINISHED, operations.c.vm_id.in_(bindparam("vm_ids", expanding=True)))
    .distinct()
)
IS_UNFINISHED_CREATE_OF_VM = (
    IS_UNFINISHED & IS_CREATE_OF_VM & (operations.c.project == vms.c.project)
)
SELECT_UNFINISHED_BY_TAG = select(vms.c.id).where(IS_ONE_OF_VMS, IS_UNFINISHED_CREATE_OF_VM)
SELECT_SUPERSEDED_BY_ID = statements.SELECT_UNFINISHED.where(
    operations.c.vm_id.in_(bindparam("vm_ids", expanding=True)),
    operations.c.action != Action.DELETE,
).with_for_update(of=operations)
SELECT_SUPERSEDED_BY_TAG = (
    select(operations, vms.c.id.label("tagged_vm_id"))
    .where(IS_ONE_OF_VMS, IS_UNFINISHED_CREATE_OF_VM)
    .order_by(*statements.OLDEST_FIRST)
    .with_for_update(of=operations)
)


def admit(
    connection: Connection, bulk: BulkOperation, lease_owner: str | None
) -> Sequence[Operation]:
    """Insert a bulk operation and the operations of its VMs, with audit entries and overlay.

    Returns the operations that it superseded.
    Without a `lease_owner` any engine may lease the operations. Raises VMsInProgress, and
    IntegrityError if another bulk operation has the key.
    """
    parts = sorted(bulk.operations.values(), key=lambda part: part.vm_id or "")
    vm_ids = [part.vm_id for part in parts if part.vm_id]
    lock_vms(connection, vm_ids)
    if busy := find_conflicts(connection, bulk.action, parts):
        raise VMsInProgress(busy)
    superseded = _supersede(connection, bulk, vm_ids) if bulk.action is Action.DELETE else []
    _release_expired_keys(connection, bulk, parts)
    connection.execute(INSERT_BULK, bulk_mapper.to_row(bulk))
    if parts:
        insert = INSERT_LEASED if lease_owner else INSERT_UNLEASED
        rows = [{**mapper.to_row(part), "lease_owner": lease_owner} for part in parts]
        connection.execute(insert, rows)
        audit.append(connection, *map(AuditEntry.accepted, parts))
        overlay.refresh(connection, *vm_ids)
    else:
        bulk_events.append(connection, bulk)
    bulk_events.append_if_finished(connection, superseded)
    return superseded


def find_conflicts(
    connection: Connection, action: Action, parts: Sequence[Operation]
) -> frozenset[str]:
    """Return the VMs that have another unfinished operation; a delete conflicts with none."""
    if action is Action.DELETE or not parts:
        return frozenset()
    params = {"vm_ids": [part.vm_id for part in parts]}
    # by tag first, as in `_supersede`
    by_tag = connection.execute(SELECT_UNFINISHED_BY_TAG, params).scalars().all()
    by_id = connection.execute(SELECT_UNFINISHED_BY_ID, params).scalars().all()
    return frozenset((*by_id, *by_tag))


def _supersede(
    connection: Connection, bulk: BulkOperation, vm_ids: Sequence[str]
) -> Sequence[Operation]:
    params = {"vm_ids": vm_ids}
    # by tag first: a create that gets its VM id between the statements is found by id then
    rows = connection.execute(SELECT_SUPERSEDED_BY_TAG, params).all()
    unfinished = [(mapper.from_row(row), row.tagged_vm_id) for row in rows]
    rows = connection.execute(SELECT_SUPERSEDED_BY_ID, params).all()
    unfinished += [(mapper.from_row(row), row.vm_id) for row in rows]
    return [
        transitions.supersede(connection, operation, vm_id, bulk.created_at)
        for operation, vm_id in unfinished
    ]


def _release_expired_keys(
    connection: Connection, bulk: BulkOperation, parts: Sequence[Operation]
) -> None:
    if bulk.key is None:
        return
    keys = [part.key.value for part in parts if part.key]
    for table, values in ((bulk_operations, [bulk.key.value]), (operations, keys)):
        connection.execute(
            statements.release_keys(table).where(
                table.c.idempotency_project == bulk.key.project,
                table.c.idempotency_caller == bulk.key.caller,
                table.c.idempotency_key.in_(values),
                table.c.created_at <= bulk.created_at - IDEMPOTENCY_KEY_TTL,
            )
        )
