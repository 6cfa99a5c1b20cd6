"""Map operations to rows and back.

The spec of a create is not stored: user data is the client's secret. So a create that its process
did not dispatch before it died is never dispatched by another process.
"""

from dataclasses import asdict
from typing import Any

from sqlalchemy import Row, bindparam

from vmapi.domain.access.caller import IdempotencyKey
from vmapi.domain.lifecycle import Action, Verb
from vmapi.domain.operation import (
    CreateOrder,
    Operation,
    OperationError,
    OperationStatus,
    Step,
    StepState,
)
from vmapi.domain.vm import VMPatch
from vmapi.store.clock import from_epoch_us, to_epoch_us
from vmapi.store.tables import operations

SAVED_COLUMNS = (
    *("vm_id", "status", "steps", "idempotency_caller", "idempotency_key", "fingerprint"),
    *("idempotency_project", "error", "started_at", "finished_at", "revision", "is_recovered"),
    "freed_key",
)
"""The columns that change after the insert."""

UPDATE_OPERATION = operations.update().where(
    operations.c.id == bindparam("of"),
    operations.c.finished_at.is_(None),
    operations.c.revision == bindparam("previous_revision"),
)
"""Takes the parameters of `update_params`; matches no row that another worker has saved."""


def to_row(operation: Operation) -> dict[str, Any]:
    """Return the row of an operation."""
    return {
        "id": operation.id,
        "action": operation.action,
        "vm_id": operation.vm_id,
        "status": operation.status,
        "reserved_name": operation.reserved_name,
        **key_to_row(operation.key),
        "freed_key": asdict(operation.freed_key) if operation.freed_key else None,
        "patch": asdict(operation.patch) if operation.patch else None,
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
        "is_delegated": operation.is_delegated,
        "create_order": asdict(operation.order) if operation.order else None,
        "is_recovered": operation.is_recovered,
        "bulk_id": operation.bulk_id,
        "traceparent": operation.traceparent,
        "steps": [_step_to_json(step) for step in operation.steps],
    }


def update_params(operation: Operation) -> dict[str, Any]:
    """Return the parameters of `UPDATE_OPERATION`; the revision is the new one."""
    row = to_row(operation)
    values = {name: row[name] for name in SAVED_COLUMNS}
    return {**values, "of": operation.id, "previous_revision": operation.revision - 1}


def from_row(row: Row[Any]) -> Operation:
    """Return the operation of a row."""
    return Operation(
        id=row.id,
        action=Action(row.action),
        steps=tuple([_step_from_json(**step) for step in row.steps]),
        created_at=row.created_at,
        requested_by=row.requested_by,
        project=row.project,
        address=row.address,
        request_id=row.request_id,
        vm_id=row.vm_id,
        status=OperationStatus(row.status),
        error=OperationError(**row.error) if row.error else None,
        started_at=row.started_at,
        finished_at=row.finished_at,
        reserved_name=row.reserved_name,
        key=key_from_row(row),
        freed_key=IdempotencyKey(**row.freed_key) if row.freed_key else None,
        patch=VMPatch(**row.patch) if row.patch else None,
        revision=row.revision,
        vcpus=row.vcpus,
        ram_mb=row.ram_mb,
        is_delegated=row.is_delegated,
        order=CreateOrder(**row.create_order) if row.create_order else None,
        is_recovered=row.is_recovered,
        bulk_id=row.bulk_id,
        traceparent=row.traceparent,
        retry_requested_at=row.retry_requested_at,
    )


def _step_to_json(step: Step) -> dict[str, Any]:
    return {
        "verb": step.verb,
        "state": step.state,
        "request_id": step.request_id,
        "started_at": to_epoch_us(step.started_at),
    }


def _step_from_json(
    *, verb: str, state: str, request_id: str | None, started_at: int | None
) -> Step:
    return Step(Verb(verb), StepState(state), request_id, from_epoch_us(started_at))


def key_to_row(key: IdempotencyKey | None) -> dict[str, str | None]:
    """Return the columns of an idempotency key, which bulk operations have too."""
    return {
        "idempotency_project": key.project if key else None,
        "idempotency_caller": key.caller if key else None,
        "idempotency_key": key.value if key else None,
        "fingerprint": key.fingerprint if key else None,
    }


def key_from_row(row: Row[Any]) -> IdempotencyKey | None:
    """Return the idempotency key of a row, or None."""
    if row.idempotency_key is None:
        return None
    return IdempotencyKey(
        row.idempotency_caller, row.idempotency_key, row.fingerprint, row.idempotency_project
    )
