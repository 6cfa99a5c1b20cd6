"""From what has happened to rows, and back. A row holds all that is shown of it later."""

from dataclasses import asdict, replace
from typing import Any

from sqlalchemy import Row

from vmapi.domain.event import ENDS, Event, EventKind
from vmapi.domain.lifecycle import Action
from vmapi.domain.operation import Failure, Operation, OperationStatus
from vmapi.store.mappers import vm as vm_rows
from vmapi.store.types import moment, stamp

NOBODYS = ""

TIMES = ("created_at", "started_at", "finished_at")


def of_vm(kind: EventKind, shown: dict[str, Any]) -> dict[str, Any]:
    """Return the row of what happened to a VM; `shown` is its row in the inventory from then on."""
    document = {**shown["observed"], "status": shown["status"], "task": shown["task"]}
    # one of which it is not known whose it is, is shown to nobody but who has all projects
    project = shown["project"] or NOBODYS
    return {"kind": kind, "project": project, "vm_id": shown["id"], "document": document}


def of_operation(operation: Operation) -> dict[str, Any]:
    """Return the row of an operation's end."""
    document: dict[str, Any] = {
        "id": operation.id,
        "action": operation.action,
        "status": operation.status,
        "error": asdict(operation.error) if operation.error else None,
        "requested_by": operation.requested_by,
        "request_id": operation.request_id,
    }
    for name in TIMES:
        document[name] = stamp(getattr(operation, name))
    return {
        "kind": ENDS[operation.status],
        "project": operation.project,
        "vm_id": operation.vm_id,
        "document": document,
    }


def event(row: Row[Any]) -> Event:
    """Return the event of a row that has a number."""
    happened = Event(row.number, EventKind(row.kind), row.at, row.project, row.vm_id)
    if happened.kind in ENDS.values():
        return replace(happened, operation=_operation(row))
    return replace(happened, vm=vm_rows.of_document(row.document))


def _operation(row: Row[Any]) -> Operation:
    document = dict(row.document)
    for name in TIMES:
        document[name] = moment(document[name])
    error = document.pop("error")
    return Operation(
        **{
            **document,
            "action": Action(document["action"]),
            "status": OperationStatus(document["status"]),
        },
        plan=(),
        project=row.project,
        vm_id=row.vm_id,
        error=Failure(**error) if error else None,
    )
