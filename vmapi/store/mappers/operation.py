"""From operations to rows and back.

What a create is to make is not kept: user data is the client's secret, and a create that was not
sent before its process died is not sent by another one.
"""

from dataclasses import asdict
from typing import Any

from sqlalchemy import Row, bindparam

from vmapi.domain.lifecycle import Action, Verb
from vmapi.domain.operation import (
    Failure,
    IdempotencyKey,
    Operation,
    OperationStatus,
    Step,
    StepState,
)
from vmapi.domain.vm import Changes
from vmapi.store.tables import operations
from vmapi.store.types import moment, stamp

SAVED = (
    *("vm_id", "status", "plan", "idempotency_caller", "idempotency_key", "fingerprint"),
    *("idempotency_project", "error", "started_at", "finished_at", "revision"),
)
"""What of an operation changes on its way."""

SAVE = operations.update().where(
    operations.c.id == bindparam("of"),
    operations.c.finished_at.is_(None),
    operations.c.revision == bindparam("before"),
)
"""With what `of_saved` returns."""


def of_operation(operation: Operation) -> dict[str, Any]:
    """Return the row of an operation."""
    return {
        "id": operation.id,
        "action": operation.action,
        "vm_id": operation.vm_id,
        "status": operation.status,
        "claimed_name": operation.claimed_name,
        "idempotency_caller": operation.key.caller if operation.key else None,
        "idempotency_key": operation.key.value if operation.key else None,
        "fingerprint": operation.key.fingerprint if operation.key else None,
        "idempotency_project": operation.key.project if operation.key else None,
        "changes": asdict(operation.changes) if operation.changes else None,
        "error": asdict(operation.error) if operation.error else None,
        "requested_by": operation.requested_by,
        "project": operation.project,
        "address": operation.address,
        "request_id": operation.request_id,
        "created_at": operation.created_at,
        "started_at": operation.started_at,
        "finished_at": operation.finished_at,
        "revision": operation.revision,
        "vcpus": operation.vcpus,
        "ram_mb": operation.ram_mb,
        "as_requester": operation.as_requester,
        "plan": [_of_step(step) for step in operation.plan],
    }


def of_saved(operation: Operation) -> dict[str, Any]:
    """Return what `SAVE` takes for an operation that has moved on by one revision."""
    row = of_operation(operation)
    saved = {name: row[name] for name in SAVED}
    return {**saved, "of": operation.id, "before": operation.revision - 1}


def operation(row: Row[Any]) -> Operation:
    """Return the operation of a row."""
    return Operation(
        id=row.id,
        action=Action(row.action),
        plan=tuple([_step(**step) for step in row.plan]),
        created_at=row.created_at,
        requested_by=row.requested_by,
        project=row.project,
        address=row.address,
        request_id=row.request_id,
        vm_id=row.vm_id,
        status=OperationStatus(row.status),
        error=Failure(**row.error) if row.error else None,
        started_at=row.started_at,
        finished_at=row.finished_at,
        claimed_name=row.claimed_name,
        key=_key(row),
        changes=Changes(**row.changes) if row.changes else None,
        revision=row.revision,
        vcpus=row.vcpus,
        ram_mb=row.ram_mb,
        as_requester=row.as_requester,
    )


def _of_step(step: Step) -> dict[str, Any]:
    return {
        "verb": step.verb,
        "state": step.state,
        "request_id": step.request_id,
        "begun_at": stamp(step.begun_at),
    }


def _step(*, verb: str, state: str, request_id: str | None, begun_at: int | None) -> Step:
    return Step(Verb(verb), StepState(state), request_id, moment(begun_at))


def _key(row: Row[Any]) -> IdempotencyKey | None:
    if row.idempotency_key is None:
        return None
    return IdempotencyKey(
        row.idempotency_caller, row.idempotency_key, row.fingerprint, row.idempotency_project
    )
