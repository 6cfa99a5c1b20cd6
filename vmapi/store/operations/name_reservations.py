"""Name reservations in SQL: a VM name has one holder per project.

An operation that gives a name reserves it when it is inserted. When it succeeds, the reservation
passes to the VM, and ends with a successful delete. The primary key of the table (project, name)
keeps concurrent operations apart.
"""

from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, bindparam, func, select

from vmapi.domain.lifecycle import Action
from vmapi.domain.operation import Operation, OperationStatus
from vmapi.store.tables import IS_UNFINISHED, name_reservations, operations

IS_OWN = name_reservations.c.operation_id == bindparam("of_operation")
IS_OF_VM = name_reservations.c.vm_id == bindparam("of_vm")
INSERT_NAME = name_reservations.insert()
ASSIGN_NAME = name_reservations.update().where(IS_OWN).values(vm_id=bindparam("of_vm"))
RELEASE_NAME = name_reservations.delete().where(IS_OWN)
RELEASE_NAMES_OF_VM = name_reservations.delete().where(IS_OF_VM)
RELEASE_OTHER_NAMES_OF_VM = RELEASE_NAMES_OF_VM.where(~IS_OWN)


def reserve(connection: Connection, operation: Operation) -> None:
    """Reserve the name that a new operation gives, if any. Raises IntegrityError."""
    if operation.reserved_name is not None:
        values = {
            "project": operation.project,
            "name": operation.reserved_name,
            "operation_id": operation.id,
            "vm_id": operation.vm_id,
        }
        connection.execute(INSERT_NAME, values)


def finalize(connection: Connection, operation: Operation) -> None:
    """Pass the name of a finished operation to its VM, or release it."""
    succeeded = operation.status is OperationStatus.SUCCEEDED
    holder = {"of_operation": operation.id, "of_vm": operation.vm_id}
    if operation.action is Action.DELETE:
        if succeeded:
            connection.execute(RELEASE_NAMES_OF_VM, holder)
    elif operation.reserved_name is not None:
        # a VM in ERROR has its name; a rename that a delete superseded may have happened
        may_have_name = (
            succeeded
            or operation.status is OperationStatus.SUPERSEDED
            or operation.action is Action.CREATE
        )
        if operation.vm_id is None or not may_have_name:
            release(connection, operation)
            return
        connection.execute(ASSIGN_NAME, holder)
        if succeeded and operation.action is Action.UPDATE:
            connection.execute(RELEASE_OTHER_NAMES_OF_VM, holder)


def release(connection: Connection, operation: Operation) -> None:
    """Release the name that an operation has reserved."""
    connection.execute(RELEASE_NAME, {"of_operation": operation.id})


def release_stale(connection: Connection, project: str, name: str, vm_id: str) -> None:
    """Release a name that its VM has lost, unless an unfinished operation gives it."""
    unfinished = select(operations.c.id).where(
        IS_UNFINISHED, operations.c.id == name_reservations.c.operation_id
    )
    is_stale = (
        _name_filter(project, name) & (name_reservations.c.vm_id == vm_id) & ~unfinished.exists()
    )
    connection.execute(name_reservations.delete().where(is_stale))


def find_holder(connection: Connection, project: str, name: str) -> Row[Any] | None:
    """Return the holder of a name: `operation_id`, `vm_id`, `is_assigned`; or None.

    `is_assigned`: the VM has the name; no unfinished operation is giving it.
    """
    is_giving = IS_UNFINISHED & (operations.c.id == name_reservations.c.operation_id)
    query = (
        select(
            name_reservations.c.operation_id,
            func.coalesce(operations.c.vm_id, name_reservations.c.vm_id).label("vm_id"),
            operations.c.id.is_(None).label("is_assigned"),
        )
        .outerjoin(operations, is_giving)
        .where(_name_filter(project, name))
    )
    return connection.execute(query).first()


def _name_filter(project: str, name: str) -> ColumnElement[bool]:
    return (name_reservations.c.project == project) & (name_reservations.c.name == name)
