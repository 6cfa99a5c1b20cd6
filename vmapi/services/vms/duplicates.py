"""Delete duplicate VMs: of one create, one VM is left.

A proxy or the cloud itself may carry out one create request twice. `InventorySync` calls the
cleaner after each full sync. Each delete is an operation and in the audit trail.
`vmapi.store.inventory.duplicates` states the proof that a delete needs.
"""

import uuid
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

import structlog

from vmapi.domain.access.caller import Caller
from vmapi.domain.lifecycle import Action
from vmapi.errors import VmapiError
from vmapi.services.reconciler.recovery import create_window
from vmapi.services.vms.service import VMService
from vmapi.store.store import Store
from vmapi.telemetry.operator_text import operator_text

if TYPE_CHECKING:
    from vmapi.store.inventory.duplicates import DuplicateVM

log = structlog.get_logger("vmapi.duplicates")

DUPLICATE_CLEANER_USER = "vmapi"
"""The user of the deletes in operations and in the audit trail."""


class DuplicateCleaner:
    """Deletes the duplicate VMs that the inventory lists.

    `clock` returns the time in UTC, `cloud_clock` the time of the cloud. `response_timeout` is in
    seconds.
    """

    def __init__(
        self,
        store: Store,
        vms: VMService,
        *,
        clock: Callable[[], datetime],
        cloud_clock: Callable[[], datetime],
        response_timeout: float,
    ) -> None:
        self._store = store
        self._vms = vms
        self._clock = clock
        self._cloud_clock = cloud_clock
        self._response_timeout = response_timeout

    def delete_duplicates(self) -> None:
        """Delete each duplicate VM by an operation. Raises StoreUnavailable."""
        window = create_window(self._response_timeout, self._cloud_clock() - self._clock())
        for duplicate in self._store.inventory.list_duplicates(window):
            log.warning(
                "deleting duplicate VM",
                name=duplicate.name,
                vm_id=duplicate.vm_id,
                operation_id=duplicate.operation_id,
            )
            self._delete(duplicate)

    def _delete(self, duplicate: "DuplicateVM") -> None:
        request_id = f"req-{uuid.uuid4()}"
        caller = Caller(DUPLICATE_CLEANER_USER, request_id, project=duplicate.project)
        try:
            self._vms.perform_action(duplicate.vm_id, Action.DELETE, caller)
        except VmapiError as error:
            log.warning(
                "duplicate VM could not be deleted",
                vm_id=duplicate.vm_id,
                reason=operator_text(error),
            )
