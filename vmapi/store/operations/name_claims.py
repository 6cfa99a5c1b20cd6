"""The names that VMs made here have: claimed before the VM is there, until its delete succeeded."""

from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, func, select

from vmapi.domain.lifecycle import Action
from vmapi.domain.operation import Operation, OperationStatus
from vmapi.store.tables import name_claims, operations

NOT_GIVEN_YET = operations.c.finished_at.is_(None)


def claim(connection: Connection, operation: Operation) -> None:
    """Claim the name of a new operation, if it has one. Raises IntegrityError."""
    if operation.claimed_name is not None:
        connection.execute(
            name_claims.insert().values(
                project=operation.project,
                name=operation.claimed_name,
                operation_id=operation.id,
                vm_id=operation.vm_id,
            )
        )


def settle(connection: Connection, operation: Operation) -> None:
    """Let the claims follow from how an operation ended."""
    ours = name_claims.c.operation_id == operation.id
    of_vm = name_claims.c.vm_id == operation.vm_id
    succeeded = operation.status is OperationStatus.SUCCEEDED
    if operation.action is Action.DELETE:
        if succeeded:
            connection.execute(name_claims.delete().where(of_vm))
    elif operation.claimed_name is not None:
        # a VM that went to ERROR has its name, and so may one whose rename a delete came between
        kept = succeeded or operation.status is OperationStatus.SUPERSEDED
        kept = kept or operation.action is Action.CREATE
        if operation.vm_id is None or not kept:
            release(connection, operation)
            return
        connection.execute(name_claims.update().where(ours).values(vm_id=operation.vm_id))
        if succeeded:
            connection.execute(name_claims.delete().where(of_vm, ~ours))


def release(connection: Connection, operation: Operation) -> None:
    """Give up what an operation has claimed."""
    connection.execute(name_claims.delete().where(name_claims.c.operation_id == operation.id))


def free(connection: Connection, project: str, name: str, vm_id: str) -> None:
    """Give up a claim whose VM does not have the name any more, unless it is just getting it."""
    getting = select(operations.c.id).where(
        NOT_GIVEN_YET, operations.c.id == name_claims.c.operation_id
    )
    stale = _of(project, name) & (name_claims.c.vm_id == vm_id) & ~getting.exists()
    connection.execute(name_claims.delete().where(stale))


def holder(connection: Connection, project: str, name: str) -> Row[Any] | None:
    """Return who has a name, if anybody: `operation_id`, `vm_id`, and whether it is `given` yet."""
    query = (
        select(
            name_claims.c.operation_id,
            func.coalesce(operations.c.vm_id, name_claims.c.vm_id).label("vm_id"),
            operations.c.id.is_(None).label("given"),
        )
        .outerjoin(operations, NOT_GIVEN_YET & (operations.c.id == name_claims.c.operation_id))
        .where(_of(project, name))
    )
    return connection.execute(query).first()


def _of(project: str, name: str) -> ColumnElement[bool]:
    return (name_claims.c.project == project) & (name_claims.c.name == name)
