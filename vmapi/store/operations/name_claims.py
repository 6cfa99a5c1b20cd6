"""The names that VMs made here have: claimed before the VM is there, until its delete succeeded."""

from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, func, select

from vmapi.domain.lifecycle import Action
from vmapi.domain.operation import Operation, OperationStatus
from vmapi.store.tables import name_reservations, operations

IS_RESERVING = operations.c.finished_at.is_(None)


def reserve(connection: Connection, operation: Operation) -> None:
    """Claim the name of a new operation, if it has one. Raises IntegrityError."""
    if operation.reserved_name is not None:
        connection.execute(
            name_reservations.insert().values(
                project=operation.project,
                name=operation.reserved_name,
                operation_id=operation.id,
                vm_id=operation.vm_id,
            )
        )


def finalize(connection: Connection, operation: Operation) -> None:
    """Let the claims follow from how an operation ended."""
    ours = name_reservations.c.operation_id == operation.id
    of_vm = name_reservations.c.vm_id == operation.vm_id
    succeeded = operation.status is OperationStatus.SUCCEEDED
    if operation.action is Action.DELETE:
        if succeeded:
            connection.execute(name_reservations.delete().where(of_vm))
    elif operation.reserved_name is not None:
        # a VM that went to ERROR has its name, and so may one whose rename a delete came between
        kept = succeeded or operation.status is OperationStatus.SUPERSEDED
        kept = kept or operation.action is Action.CREATE
        if operation.vm_id is None or not kept:
            release(connection, operation)
            return
        connection.execute(name_reservations.update().where(ours).values(vm_id=operation.vm_id))
        if succeeded:
            connection.execute(name_reservations.delete().where(of_vm, ~ours))


def release(connection: Connection, operation: Operation) -> None:
    """Give up what an operation has claimed."""
    connection.execute(
        name_reservations.delete().where(name_reservations.c.operation_id == operation.id)
    )


def release_stale(connection: Connection, project: str, name: str, vm_id: str) -> None:
    """Give up a claim whose VM does not have the name any more, unless it is just getting it."""
    getting = select(operations.c.id).where(
        IS_RESERVING, operations.c.id == name_reservations.c.operation_id
    )
    stale = _name_filter(project, name) & (name_reservations.c.vm_id == vm_id) & ~getting.exists()
    connection.execute(name_reservations.delete().where(stale))


def find_holder(connection: Connection, project: str, name: str) -> Row[Any] | None:
    """Return who has a name, if anybody: `operation_id`, `vm_id`, and whether it is `given` yet."""
    query = (
        select(
            name_reservations.c.operation_id,
            func.coalesce(operations.c.vm_id, name_reservations.c.vm_id).label("vm_id"),
            operations.c.id.is_(None).label("given"),
        )
        .outerjoin(operations, IS_RESERVING & (operations.c.id == name_reservations.c.operation_id))
        .where(_name_filter(project, name))
    )
    return connection.execute(query).first()


def _name_filter(project: str, name: str) -> ColumnElement[bool]:
    return (name_reservations.c.project == project) & (name_reservations.c.name == name)
