"""The enumerations of the schema, with their names there. Its types import them from here."""

from enum import StrEnum

import strawberry

from vmapi.domain.event import RESET_KIND, EventKind
from vmapi.domain.lifecycle import Action, Status, Task
from vmapi.domain.operation import OperationStatus
from vmapi.domain.quota import LimitSource

__all__ = [
    "Action",
    "EventKind",
    "LimitSource",
    "OperationStatus",
    "RestartType",
    "Status",
    "StreamedKind",
    "Task",
]

strawberry.enum(Status, name="VMStatus")
strawberry.enum(Task, name="VMTask")
strawberry.enum(Action, name="OperationAction")
strawberry.enum(OperationStatus, name="OperationStatus")
strawberry.enum(LimitSource, name="QuotaLimitSource")
strawberry.enum(EventKind, name="EventKindFilter")


@strawberry.enum(
    name="EventKind",
    description="`EVENTS_RESET`: the events after `lastEventId` are lost; all stored ones follow.",
)
class StreamedKind(StrEnum):
    """The kind of an event of a stream."""

    VM_CREATED = EventKind.VM_CREATED
    VM_CHANGED = EventKind.VM_CHANGED
    VM_DELETED = EventKind.VM_DELETED
    OPERATION_SUCCEEDED = EventKind.OPERATION_SUCCEEDED
    OPERATION_FAILED = EventKind.OPERATION_FAILED
    OPERATION_SUPERSEDED = EventKind.OPERATION_SUPERSEDED
    EVENTS_RESET = RESET_KIND


@strawberry.enum(description="`SOFT` reboots the guest, `HARD` resets it.")
class RestartType(StrEnum):
    """The type of a restart."""

    SOFT = "soft"
    HARD = "hard"
