"""Map events to rows and back: a row holds all that the API shows of its event."""

from dataclasses import asdict, replace
from typing import Any

from sqlalchemy import Row

from vmapi.domain.access.project import NO_PROJECT
from vmapi.domain.bulk import BulkSummary
from vmapi.domain.event import EVENT_KIND_BY_STATUS, Event, EventKind
from vmapi.domain.lifecycle import Action
from vmapi.domain.operation import Operation, OperationError, OperationStatus
from vmapi.store.clock import from_epoch_us, to_epoch_us
from vmapi.store.mappers import vm as vm_mapper

OPERATION_TIME_FIELDS = ("created_at", "started_at", "finished_at")


def vm_event_to_row(kind: EventKind, vm_row: dict[str, Any]) -> dict[str, Any]:
    """Return the row of a VM event from the changed inventory row."""
    payload = {**vm_row["observed"], "status": vm_row["status"], "task": vm_row["task"]}
    project = vm_row["project"] or NO_PROJECT
    return {"kind": kind, "project": project, "vm_id": vm_row["id"], "payload": payload}


def operation_event_to_row(operation: Operation) -> dict[str, Any]:
    """Return the row of the event that an operation has finished."""
    return {
        "kind": EVENT_KIND_BY_STATUS[operation.status],
        "project": operation.project,
        "vm_id": operation.vm_id,
        "payload": {**_payload(operation), "bulk_id": operation.bulk_id},
    }


def bulk_event_to_row(bulk: BulkSummary, project: str) -> dict[str, Any]:
    """Return the row of the event that a bulk operation has finished."""
    return {
        "kind": EVENT_KIND_BY_STATUS[bulk.status],
        "project": project,
        "vm_id": None,
        "payload": {**_payload(bulk), "counts": dict(bulk.counts)},
    }


def from_row(row: Row[Any]) -> Event:
    """Return the event of a row that has a sequence."""
    event = Event(row.sequence, EventKind(row.kind), row.at, row.project, row.vm_id)
    if event.kind in EVENT_KIND_BY_STATUS.values():
        if "counts" in row.payload:
            return replace(event, operation=BulkSummary(**_fields_from_payload(row.payload)))
        return replace(event, operation=_operation_from_row(row))
    return replace(event, vm=vm_mapper.from_document(row.payload))


def _payload(operation: Operation | BulkSummary) -> dict[str, Any]:
    times = {name: to_epoch_us(getattr(operation, name)) for name in OPERATION_TIME_FIELDS}
    return {
        "id": operation.id,
        "action": operation.action,
        "status": operation.status,
        "error": asdict(operation.error) if operation.error else None,
        "requested_by": operation.requested_by,
        "request_id": operation.request_id,
        **times,
    }


def _fields_from_payload(payload: dict[str, Any]) -> dict[str, Any]:
    return {
        **payload,
        **{name: from_epoch_us(payload[name]) for name in OPERATION_TIME_FIELDS},
        "action": Action(payload["action"]),
        "status": OperationStatus(payload["status"]),
        "error": OperationError(**payload["error"]) if payload["error"] else None,
    }


def _operation_from_row(row: Row[Any]) -> Operation:
    members = _fields_from_payload(row.payload)
    return Operation(**members, steps=(), project=row.project, vm_id=row.vm_id)
