"""Deleting VMs that nobody asked for: of one create, one VM is left."""

import uuid

import structlog

from vmapi.domain.caller import Caller
from vmapi.domain.lifecycle import Action
from vmapi.errors import VmapiError
from vmapi.services.vms.service import VMService
from vmapi.store.store import Store

log = structlog.get_logger("vmapi.doubles")

DUPLICATE_CLEANER_USER = "vmapi"
"""By whom they are deleted, in operations and in the audit trail."""


class DuplicateCleaner:
    """What comes of a create that something on the way to the cloud has sent twice."""

    def __init__(self, store: Store, vms: VMService) -> None:
        self._store = store
        self._vms = vms

    def delete_duplicates(self) -> None:
        """Delete those that are known, each by an operation. Raises StoreUnavailable."""
        for double in self._store.inventory.list_duplicates():
            about = {"vm_id": double.vm_id, "operation_id": double.operation_id}
            log.warning("a VM that nobody asked for is deleted", name=double.name, **about)
            caller = Caller(
                DUPLICATE_CLEANER_USER, request_id=f"req-{uuid.uuid4()}", project=double.project
            )
            try:
                self._vms.perform_action(double.vm_id, Action.DELETE, caller)
            except VmapiError as error:
                log.warning("it could not be deleted", vm_id=double.vm_id, reason=error.detail)
