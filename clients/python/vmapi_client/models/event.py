"""Events: changes of VMs and results of operations."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from vmapi_client.models.model import Model
from vmapi_client.models.operation import Operation
from vmapi_client.models.vm import VM

EventKind = Literal[
    "vm.created",
    "vm.changed",
    "vm.deleted",
    "operation.succeeded",
    "operation.failed",
    "operation.superseded",
]
"""A kind in a filter. Streams also have the kind `events.reset`."""

EVENTS_RESET = "events.reset"


@dataclass(frozen=True, kw_only=True)
class Event(Model):
    """One event. Store `id` to continue after it; `events.reset` says that events are lost."""

    id: str | None
    kind: str
    at: datetime | None
    vm_id: str | None
    vm: VM | None
    operation: Operation | None
