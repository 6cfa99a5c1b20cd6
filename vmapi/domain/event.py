"""Events: changes of VMs and ends of operations, as the event stream reports them."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from vmapi.domain.access.project import Scope
from vmapi.domain.bulk import BulkSummary
from vmapi.domain.operation import Operation, OperationStatus
from vmapi.domain.selector import Selector
from vmapi.domain.vm import VM

EVENT_BATCH = 500
"""Events that one query reads."""


class EventKind(StrEnum):
    """The kinds of events; the values are part of the API."""

    VM_CREATED = "vm.created"
    VM_CHANGED = "vm.changed"
    VM_DELETED = "vm.deleted"
    OPERATION_SUCCEEDED = "operation.succeeded"
    OPERATION_FAILED = "operation.failed"
    OPERATION_SUPERSEDED = "operation.superseded"


RESET_KIND = "events.reset"
"""The kind of the event of a gap. It is in no log."""


EVENT_KIND_BY_STATUS = {
    OperationStatus.SUCCEEDED: EventKind.OPERATION_SUCCEEDED,
    OperationStatus.FAILED: EventKind.OPERATION_FAILED,
    OperationStatus.SUPERSEDED: EventKind.OPERATION_SUPERSEDED,
}


VM_EVENT_KINDS = frozenset(EventKind) - frozenset(EVENT_KIND_BY_STATUS.values())
"""The kinds of events about VMs."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a VM or of an operation."""

    #: the position in the log: grows in the order in which the events became visible
    sequence: int
    kind: EventKind
    at: datetime
    project: str
    vm_id: str | None
    #: the VM after the change
    vm: VM | None = None
    #: the finished operation
    operation: Operation | BulkSummary | None = None


@dataclass(frozen=True, slots=True)
class EventQuery:
    """Filters of events; an empty set admits any value.

    With a selector, only events about VMs pass: the VM as the event shows it has to match.
    """

    project: Scope
    vm_ids: frozenset[str] = frozenset()
    kinds: frozenset[EventKind] = frozenset()
    selector: Selector | None = None

    def matches(self, event: Event) -> bool:
        """Return whether an event passes the filters."""
        return (
            self.project in (None, event.project)
            and (not self.vm_ids or event.vm_id in self.vm_ids)
            and (not self.kinds or event.kind in self.kinds)
            and (self.selector is None or _matches(self.selector, event.vm))
        )


def _matches(selector: Selector, vm: VM | None) -> bool:
    return vm is not None and selector.matches(vm.metadata)
