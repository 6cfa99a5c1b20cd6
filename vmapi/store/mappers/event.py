"""From what has happened to rows, and back. A row holds all that is shown of it later."""

from dataclasses import asdict, replace
from typing import Any

from sqlalchemy import Row

from vmapi.domain.event import EVENT_KIND_BY_STATUS, Event, EventKind
from vmapi.domain.lifecycle import Action
from vmapi.domain.operation import Operation, OperationError, OperationStatus
from vmapi.store.mappers import vm as vm_mapper
from vmapi.store.types import from_epoch_us, to_epoch_us

NO_PROJECT = ""

OPERATION_TIME_FIELDS = ("created_at", "started_at", "finished_at")


def vm_event_to_row(kind: EventKind, shown: dict[str, Any]) -> dict[str, Any]:
    """Return the row of what happened to a VM; `shown` is its row in the inventory from then on."""
    document = {**shown["observed"], "status": shown["status"], "task": shown["task"]}
    # one of which it is not known whose it is, is shown to nobody but who has all projects
    project = shown["project"] or NO_PROJECT
    return {"kind": kind, "project": project, "vm_id": shown["id"], "payload": document}


def operation_event_to_row(operation: Operation) -> dict[str, Any]:
    """Return the row of an operation's end."""
    document: dict[str, Any] = {
        "id": operation.id,
        "action": operation.action,
        "status": operation.status,
        "error": asdict(operation.error) if operation.error else None,
        "requested_by": operation.requested_by,
        "request_id": operation.request_id,
    }
    for name in OPERATION_TIME_FIELDS:
        document[name] = to_epoch_us(getattr(operation, name))
    return {
        "kind": EVENT_KIND_BY_STATUS[operation.status],
        "project": operation.project,
        "vm_id": operation.vm_id,
        "payload": document,
    }


def from_row(row: Row[Any]) -> Event:
    """Return the event of a row that has a number."""
    happened = Event(row.sequence, EventKind(row.kind), row.at, row.project, row.vm_id)
    if happened.kind in EVENT_KIND_BY_STATUS.values():
        return replace(happened, operation=_operation(row))
    return replace(happened, vm=vm_mapper.from_document(row.payload))


def _operation(row: Row[Any]) -> Operation:
    document = dict(row.payload)
    for name in OPERATION_TIME_FIELDS:
        document[name] = from_epoch_us(document[name])
    error = document.pop("error")
    return Operation(
        **{
            **document,
            "action": Action(document["action"]),
            "status": OperationStatus(document["status"]),
        },
        steps=(),
        project=row.project,
        vm_id=row.vm_id,
        error=OperationError(**error) if error else None,
    )
