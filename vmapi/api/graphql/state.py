"""The state of one execution of a document."""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass

from vmapi.api.request.caller import current_scope
from vmapi.api.request.context import current_services
from vmapi.domain.event import EventQuery
from vmapi.domain.operation import Operation
from vmapi.domain.pagination import Page, PageRequest
from vmapi.domain.vm import VMQuery


@dataclass(frozen=True, slots=True)
class EventSource:
    """The events that a subscription selects, and the last event of the client."""

    query: EventQuery
    last_event_id: str | None


class ExecutionState:
    """The state of one execution: the VMs of its last page, and their operations.

    The library completes a field before it resolves the next one. So a page of VMs needs its
    operations before the next page exists. `document_key` is that of `CheckedDocument`.
    """

    def __init__(self, document_key: Hashable | None = None) -> None:
        self.document_key = document_key
        self.page_read: tuple[VMQuery, PageRequest] | None = None
        self.event_source: EventSource | None = None
        self._vm_ids: dict[str, None] = {}
        self._pages: dict[tuple[str, int], Page[Operation]] = {}

    def begin_page(
        self, vm_ids: Iterable[str], read: tuple[VMQuery, PageRequest] | None = None
    ) -> None:
        """Set the VMs that `load_operations` loads together, and the read of their page."""
        self._vm_ids = dict.fromkeys(vm_ids)
        self._pages.clear()
        self.page_read = read

    def load_operations(self, vm_id: str, page_size: int) -> Page[Operation]:
        """Return the first page of the operations of a VM."""
        if (vm_id, page_size) not in self._pages:
            vm_ids = list(self._vm_ids) if vm_id in self._vm_ids else [vm_id]
            pages = current_services().operations.list_by_vm(vm_ids, page_size, current_scope())
            self._pages |= {(vm_id, page_size): page for vm_id, page in pages.items()}
        return self._pages[vm_id, page_size]
