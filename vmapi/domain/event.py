"""What has happened, as those who listen are told it."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from vmapi.domain.operation import Operation, OperationStatus
from vmapi.domain.project import Scope
from vmapi.domain.vm import VM

EVENT_BATCH = 500
"""Events that are read at a time."""


class EventKind(StrEnum):
    """What can happen: to a VM, as the API shows it, and to an operation, which ends once."""

    VM_CREATED = "vm.created"
    VM_CHANGED = "vm.changed"
    VM_DELETED = "vm.deleted"
    OPERATION_SUCCEEDED = "operation.succeeded"
    OPERATION_FAILED = "operation.failed"
    OPERATION_SUPERSEDED = "operation.superseded"


EVENT_KIND_BY_STATUS = {
    OperationStatus.SUCCEEDED: EventKind.OPERATION_SUCCEEDED,
    OperationStatus.FAILED: EventKind.OPERATION_FAILED,
    OperationStatus.SUPERSEDED: EventKind.OPERATION_SUPERSEDED,
}


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that has happened: to `vm`, as it was from then on, or the end of `operation`.

    `number` grows from event to event, in the order in which they became visible.
    """

    sequence: int
    kind: EventKind
    at: datetime
    project: str
    vm_id: str | None
    vm: VM | None = None
    operation: Operation | None = None


@dataclass(frozen=True, slots=True)
class EventQuery:
    """Which events of a project are asked for; an empty set means any."""

    project: Scope
    vm_ids: frozenset[str] = frozenset()
    kinds: frozenset[EventKind] = frozenset()

    def matches(self, event: Event) -> bool:
        """Tell whether an event is asked for."""
        return (
            self.project in (None, event.project)
            and (not self.vm_ids or event.vm_id in self.vm_ids)
            and (not self.kinds or event.kind in self.kinds)
        )
